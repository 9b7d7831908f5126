//! Files that list clusters: our own words in JSON, YAML or TOML, or Prometheus' `file_sd` files as they are.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::DiscoverError;
use super::described::{Described, Entry};

/// `file`: which files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Files {
    /// Relative ones are relative to the configuration file. The last part may hold one `*`.
    pub paths: Vec<PathBuf>,
}

impl Files {
    pub(super) fn ask(&self) -> Result<Vec<Result<Described, String>>, DiscoverError> {
        let mut found = Vec::new();
        for pattern in &self.paths {
            for path in matching(pattern)? {
                let wrong = |reason: String| DiscoverError::File { path: path.display().to_string(), reason };
                let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
                let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
                let entries = entries(&path, &text).map_err(wrong)?;
                let described = |(at, entry): (usize, Value)| {
                    let entry = serde_json::from_value::<Entry>(entry);
                    let entry = entry.map_err(|e| format!("{}: entry {}: {e}", path.display(), at + 1))?;
                    Ok(entry.described(stem.as_deref().unwrap_or("")))
                };
                found.extend(entries.into_iter().enumerate().map(described));
            }
        }
        Ok(found)
    }
}

/// The files that a pattern means, in order. A folder that cannot be read is no empty folder.
fn matching(pattern: &Path) -> Result<Vec<PathBuf>, DiscoverError> {
    let name = pattern.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some((before, after)) = name.split_once('*') else { return Ok(vec![pattern.to_owned()]) };
    let folder = pattern.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let wrong = |error: std::io::Error| DiscoverError::File {
        path: folder.display().to_string(),
        reason: error.to_string(),
    };
    let mut files = Vec::new();
    for file in std::fs::read_dir(folder).map_err(wrong)? {
        let path = file.map_err(wrong)?.path();
        let fits = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
            name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        });
        if fits {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The entries of a file: a list, or the list below `cluster` or `clusters`.
fn entries(path: &Path, text: &str) -> Result<Vec<Value>, String> {
    let value: Value = match path.extension().and_then(|ending| ending.to_str()) {
        Some("toml") => toml::from_str(text).map_err(|error| error.message().to_owned())?,
        Some("yml" | "yaml") => {
            serde_saphyr::from_str(text).map_err(|error| first_line(&error.to_string()))?
        }
        _ => serde_json::from_str(text).map_err(|error| error.to_string())?,
    };
    let list = match value {
        Value::Array(list) => Some(list),
        Value::Object(mut object) => {
            ["cluster", "clusters"].iter().find_map(|key| match object.remove(*key) {
                Some(Value::Array(list)) => Some(list),
                _ => None,
            })
        }
        // An empty YAML or TOML file lists nothing.
        Value::Null => Some(Vec::new()),
        _ => None,
    };
    list.ok_or_else(|| "no list of clusters: write a list, or one below `cluster`".to_owned())
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_read_in_all_formats() {
        let folder = tempfile::tempdir().expect("a folder");
        let ask = |pattern: &str| Files { paths: vec![folder.path().join(pattern)] }.ask();
        for (name, text) in [
            ("a.json", r#"[{"targets": ["a:1"], "labels": {"cluster": "one"}}]"#),
            ("b.yaml", "- name: two\n  endpoints: [b:1]\n"),
            ("c.toml", "[[cluster]]\nname = 'three'\nendpoints = ['c:1']\n[[cluster]]\nnome = 'x'\n"),
            ("d.json", "{\"clusters\": [{\"endpoints\": [\"d:1\"]}]}"),
        ] {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        let found = ask("*").expect("all are read");
        let names: Vec<&str> = found.iter().flatten().map(|one| one.words["name"].as_str()).collect();
        assert_eq!(names, ["one", "two", "three", "d"]);
        let problem = found.iter().find_map(|one| one.as_ref().err()).expect("the misspelt one");
        assert!(problem.contains("c.toml: entry 2: unknown field `nome`"), "{problem}");
        assert_eq!(ask("*.json").map(|found| found.len()).ok(), Some(2));
        assert!(ask("gone.json").is_err() && ask("gone/*.json").is_err());
        std::fs::write(folder.path().join("e.json"), "{").expect("written");
        assert!(ask("*").is_err(), "a file that is being written takes nothing away");
    }
}
