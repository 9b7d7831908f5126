//! The example fleet as a site: pages, JSON and assets, in memory.

use std::time::Instant;

use etcd_monitor::report::{ReportConfig, example, render};

pub fn run(rounds: usize) {
    let input = example::fleet();
    let mut best = f64::INFINITY;
    for _ in 0..rounds {
        let began = Instant::now();
        let site = render(&ReportConfig::default(), &input).unwrap();
        let seconds = began.elapsed().as_secs_f64();
        if seconds < best {
            best = seconds;
            let pages = site.keys().filter(|path| path.ends_with(".html")).count();
            let bytes: usize = site.values().map(|body| body.len()).sum();
            println!(
                "clusters={} files={} pages={pages} bytes={bytes} seconds={seconds:.3}",
                input.clusters.len(),
                site.len()
            );
        }
    }
}
