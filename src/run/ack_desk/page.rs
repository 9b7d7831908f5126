//! The pages of the links: plain HTML that works without scripts, everything from outside escaped.

use std::fmt::Write as _;

use super::Answer;
use crate::deliver::escaped;
use crate::model::Incident;

/// The style sheet, beside the pages.
pub(super) const STYLE_NAME: &str = "page.css";

const STYLE: &str = "\
:root{color-scheme:light dark;--ground:#f4f5f7;--card:#fff;--text:#1d2939;--quiet:#475467;--line:#d0d5dd;--act:#155eef;--on-act:#fff}
@media(prefers-color-scheme:dark){:root{--ground:#101418;--card:#1b2128;--text:#e6e9ee;--quiet:#a9b4c2;--line:#3a4450;--act:#84adff;--on-act:#0b1220}}
body{margin:0;padding:24px 16px;background:var(--ground);color:var(--text);font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
main{max-width:560px;margin:0 auto;padding:20px 24px;background:var(--card);border:1px solid var(--line);border-radius:8px;overflow-wrap:anywhere}
h1{margin:0 0 12px;font-size:22px;line-height:1.3}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 16px;margin:0 0 16px}
dt{color:var(--quiet)}dd{margin:0}code{font-size:13px}
label{display:block;margin:0 0 12px}
input{display:block;box-sizing:border-box;width:100%;margin-top:4px;padding:9px 10px;font:inherit;color:inherit;background:transparent;border:1px solid var(--line);border-radius:6px}
button{padding:10px 20px;font:inherit;font-weight:600;color:var(--on-act);background:var(--act);border:0;border-radius:6px;cursor:pointer}
:focus-visible{outline:3px solid var(--act);outline-offset:2px}
";

pub(super) fn style() -> Answer {
    Answer { status: 200, content_type: "text/css; charset=utf-8", body: STYLE.to_owned() }
}

/// A heading and sentences.
pub(super) fn told(status: u16, heading: &str, sentences: &[&str]) -> Answer {
    let text: String = sentences.iter().map(|sentence| format!("<p>{}</p>", escaped(sentence))).collect();
    page(status, heading, &text)
}

/// Shows the incident and asks.
pub(super) fn question(incident: &Incident) -> Answer {
    // Without an action the form goes to the page's own address, which holds the signature.
    let form = "<form method=\"post\">\
        <label>Your name <input name=\"name\" maxlength=\"80\" autocomplete=\"name\"></label>\
        <label>What others should know <input name=\"note\" maxlength=\"500\"></label>\
        <button>Acknowledge</button></form>\
        <p>Nobody is told of it again or in addition until it ends.</p>";
    page(200, "Take this incident on?", &format!("{}{form}", facts(incident)))
}

/// Somebody has it in hand: just now, or before.
pub(super) fn acked(incident: &Incident, now: bool) -> Answer {
    let heading = if now { "Acknowledged" } else { "Acknowledged already" };
    page(200, heading, &facts(incident))
}

/// The episode of the link has ended; the incident may be in another one.
pub(super) fn over(incident: &Incident, episode: u64) -> Answer {
    let again = incident.state.is_active() && incident.episode > episode;
    let more = if again { "<p>It fires again: a newer message has the link for that.</p>" } else { "" };
    page(410, "This incident is over", &format!("{}{more}", facts(incident)))
}

fn facts(incident: &Incident) -> String {
    let mut rows = vec![
        ("What", escaped(incident.summary())),
        ("Severity", incident.severity.to_string()),
        ("State", escaped(&incident.status())),
    ];
    rows.extend(incident.reason.as_ref().map(|reason| ("By", escaped(reason))));
    rows.push(("Id", format!("<code>{}</code>", escaped(incident.short_id()))));
    rows.push(("Labels", format!("<code>{}</code>", escaped(&incident.labels.canonical()))));
    let mut list = String::from("<dl>");
    for (name, value) in rows {
        // Writing to a String cannot fail.
        let _ = write!(list, "<dt>{name}</dt><dd>{value}</dd>");
    }
    list + "</dl>"
}

fn page(status: u16, heading: &str, content: &str) -> Answer {
    let heading = escaped(heading);
    let body = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{heading} · etcd-monitor</title><link rel=\"stylesheet\" href=\"{STYLE_NAME}\"></head>\
         <body><main><h1>{heading}</h1>{content}</main></body></html>"
    );
    Answer { status, content_type: "text/html; charset=utf-8", body }
}
