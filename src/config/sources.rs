//! `[[discover]]`: sources with their secrets resolved, ready to be asked; and what they found, as clusters.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::check::login;
use super::{ClusterSetup, Document, Environment};
use crate::discover::source::{Source, SourceConfig};
use crate::etcd::ClusterConfig;
use crate::model::ClusterName;
use crate::probe::ScrapeConfig;
use crate::watch::WatchConfig;

/// The sources. Where `store_only` nothing is asked of them, so their secrets are not needed.
pub(super) fn sources(
    document: &mut Document<'_>,
    path: Option<&Path>,
    environment: &Environment,
    store_only: bool,
) -> Vec<Arc<Source>> {
    let base = path.and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
    let mut names = BTreeSet::new();
    let mut sources = Vec::new();
    for (line, mut config) in document.elements::<SourceConfig>("discover") {
        let key = format!("discover {:?}", config.name.as_str());
        if !names.insert(config.name.clone()) {
            document.error_at(line, &format!("{key}: name"), "there are two sources of this name");
        }
        // Paths in a file are relative to it.
        let files = config.file.iter_mut().flat_map(|files| &mut files.paths);
        files.for_each(|path| *path = base.join(&path));
        if let Some(kubernetes) = config.kubernetes.as_mut().filter(|kubernetes| kubernetes.api.is_none()) {
            kubernetes.api = api_of(environment);
        }
        let asked = config.etcd.as_ref().and_then(|etcd| etcd.auth.as_ref()).filter(|_| !store_only);
        let login = login(asked, environment);
        let opened = match login {
            Ok(login) => Source::open(config, login.as_ref()),
            Err(message) => Err(("etcd.auth.password", message)),
        };
        match opened {
            Ok(source) => sources.push(Arc::new(source)),
            Err((part, message)) => document.error_at(line, &format!("{key}: {part}"), message),
        }
    }
    sources
}

/// The API server as every pod's environment names it.
fn api_of(environment: &Environment) -> Option<String> {
    let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
    Some(if host.contains(':') {
        format!("https://[{host}]:{port}")
    } else {
        format!("https://{host}:{port}")
    })
}

/// Found clusters, ready to connect. One that cannot be used is said and left out: it takes nothing from the others.
pub(super) fn found(
    found: Vec<ClusterConfig>,
    configured: &BTreeSet<ClusterName>,
    environment: &Environment,
    watch: &WatchConfig,
    store_only: bool,
    warnings: &mut Vec<String>,
) -> Vec<ClusterSetup> {
    let mut seen = configured.clone();
    let mut setups = Vec::new();
    for config in found {
        let name = config.name.clone();
        if !seen.insert(name.clone()) {
            warnings.push(format!(
                "a cluster {name} is found, and there is another of this name: it is left out"
            ));
            continue;
        }
        if store_only {
            setups.push(ClusterSetup { config, login: None, backup_login: None });
            continue;
        }
        match usable(config, environment, watch) {
            Ok(setup) => setups.push(setup),
            Err(problem) => {
                warnings.push(format!("the cluster {name} that was found is left out: {problem}"));
            }
        }
    }
    setups
}

fn usable(
    config: ClusterConfig,
    environment: &Environment,
    watch: &WatchConfig,
) -> Result<ClusterSetup, String> {
    let own = login(config.auth.as_ref(), environment)?;
    let backup_login = login(config.backup_auth.as_ref(), environment)?;
    let setup = ClusterSetup { config, login: own, backup_login };
    let of_files = setup.file_problems().into_iter().map(|(key, message)| (key.to_owned(), message));
    if let Some((key, message)) = setup.own_problems(watch).into_iter().chain(of_files).next() {
        return Err(format!("{key}: {message}"));
    }
    setup.prober(&ScrapeConfig::default(), &Arc::default()).map_err(|error| error.to_string())?;
    Ok(setup)
}
