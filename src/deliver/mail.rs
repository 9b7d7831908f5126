//! The two bodies of a mail.

use std::fmt::Write as _;

use super::Message;
use crate::model::Incident;

fn annotations(incident: &Incident) -> impl Iterator<Item = &String> {
    let names = ["description", "runbook", "runbook_url"];
    names.into_iter().filter_map(|name| incident.annotations.get(name)).filter(|text| !text.is_empty())
}

pub(super) fn text(message: &Message<'_>) -> String {
    let mut text = String::new();
    for incident in &message.group.incidents {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}\n  {}, {}", incident.summary(), incident.status(), incident.severity);
        for value in annotations(incident) {
            let _ = writeln!(text, "  {value}");
        }
        if let Some(link) = message.ack_url(incident) {
            let _ = writeln!(text, "  Acknowledge: {link}");
        }
        let _ = writeln!(text, "  {}\n", incident.labels.canonical());
    }
    if !message.external_url.is_empty() {
        let _ = writeln!(text, "{}\n", message.external_url);
    }
    let _ = writeln!(text, "-- \netcd-monitor, {}", message.idempotency_key);
    text
}

/// One card per incident. Styles are inline and the layout is plain blocks: mail programs drop the rest.
pub(super) fn html(message: &Message<'_>) -> String {
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"></head>\
         <body style=\"margin:0;padding:16px;background:#f4f5f7;color:#1d2939;\
         font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif\">",
    );
    for incident in &message.group.incidents {
        let color = if incident.state.is_active() { "#b42318" } else { "#067647" };
        let _ = write!(
            html,
            "<div style=\"max-width:640px;margin:0 0 12px;padding:14px 18px;background:#fff;\
             border:1px solid #e4e7ec;border-left:4px solid {color};border-radius:4px\">\
             <div style=\"font-size:17px;font-weight:600;overflow-wrap:anywhere\">{}</div>\
             <div style=\"color:{color};margin-bottom:8px\">{}, {}</div>",
            escaped(incident.summary()),
            escaped(&incident.status()),
            incident.severity,
        );
        for value in annotations(incident) {
            let _ = write!(html, "<p style=\"margin:0 0 8px;overflow-wrap:anywhere\">{}</p>", escaped(value));
        }
        if let Some(link) = message.ack_url(incident) {
            let _ = write!(
                html,
                "<p style=\"margin:0 0 8px\"><a href=\"{}\" style=\"display:inline-block;padding:6px 14px;\
                 background:#155eef;color:#fff;border-radius:4px;text-decoration:none\">Acknowledge</a></p>",
                escaped(&link)
            );
        }
        let _ = write!(
            html,
            "<code style=\"display:block;color:#475467;font-size:13px;overflow-wrap:anywhere\">{}</code></div>",
            escaped(&incident.labels.canonical()),
        );
    }
    let link = escaped(message.external_url);
    if !link.is_empty() {
        let _ = write!(html, "<p><a href=\"{link}\">{link}</a></p>");
    }
    let _ = write!(
        html,
        "<p style=\"color:#667085;font-size:12px\">etcd-monitor, {}</p></body></html>",
        escaped(message.idempotency_key)
    );
    html
}

/// Text as HTML shows it, inside of elements and of double quotes. Labels are chosen by whoever runs the
/// members: hostile text.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
