//! The rendered site as a whole: links, policies, budgets, determinism. The browser tests use what
//! `writes_the_example_site` leaves in the target folder.

use std::path::PathBuf;

use etcd_monitor::report::{ReportConfig, Site, example, render};

fn site() -> Site {
    render(&ReportConfig::default(), &example::fleet()).expect("renders")
}

fn pages(site: &Site) -> impl Iterator<Item = (&String, &str)> {
    let html = site.iter().filter(|(path, _)| path.ends_with(".html"));
    html.map(|(path, bytes)| (path, std::str::from_utf8(bytes).expect("is UTF-8")))
}

#[test]
fn writes_the_example_site() {
    let top = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("example-site");
    let site = site();
    for (path, body) in &site {
        let file = top.join(path);
        std::fs::create_dir_all(file.parent().expect("is in a folder")).expect("the folder can be made");
        std::fs::write(file, body).expect("the file can be written");
    }
    assert_eq!(pages(&site).count(), 55);
}
