//! SIGTERM and Ctrl-C, once: the second one ends the process.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancels `shutdown` at SIGTERM or SIGINT. A second signal exits at once, for a person who will not wait.
pub async fn shutdown_signal(shutdown: CancellationToken) {
    let (mut terminate, mut interrupt) = match (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "signals cannot be handled; stop the process with SIGKILL, nothing but the last segment is lost");
            return;
        }
    };
    let mut either = async || {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    };
    either().await;
    tracing::info!("stopping: flushing what is in memory");
    shutdown.cancel();
    either().await;
    std::process::exit(130);
}
