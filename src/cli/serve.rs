//! `serve`: the static site on loopback.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{Global, Stop, open_store, output};
use crate::config::Overrides;
use crate::run::ack_desk::AckDesk;
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::run::{new_writer, shutdown_signal, site_server};

#[derive(Debug, Args)]
pub struct Serve {
    /// Address to listen on. The site has no login of its own: keep it on loopback or behind a proxy
    #[arg(long, default_value = "127.0.0.1:8600", value_name = "HOST:PORT")]
    listen: SocketAddr,
}

impl Serve {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let config = global.load(Overrides { answers_links: true, ..Overrides::store_only() })?;
        let store = open_store(&config).await?;
        let desk = match &config.ack {
            Some(source) => Some(AckDesk::open(store.clone(), new_writer(&Clock::System)?, source).await?),
            None => None,
        };
        let shutdown = CancellationToken::new();
        let server = site_server::bind(store, desk, Clock::System, self.listen).await?;
        output::note(format_args!("http://{}/index.html", server.address()));
        tokio::spawn(shutdown_signal(shutdown.clone()));
        server.serve(shutdown).await;
        Ok(Exit::Ok.into())
    }
}
