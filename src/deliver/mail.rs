//! The two bodies of a mail.

use std::fmt::Write as _;

use super::Message;
use super::recent::BEFORE;
use crate::model::{Incident, IncidentState, Severity};

/// More incidents than this are counted and not shown: mail programs cut long mails without a word.
const INCIDENTS_MAX: usize = 50;

fn annotations(incident: &Incident) -> impl Iterator<Item = String> {
    let names = ["description", BEFORE, "runbook", "runbook_url"];
    let told = |name| {
        let text = incident.annotations.get(name).filter(|text| !text.is_empty())?;
        Some(if name == BEFORE { format!("What came before: {text}") } else { text.clone() })
    };
    names.into_iter().filter_map(told)
}

fn more(message: &Message<'_>) -> Option<String> {
    let more = message.group.incidents.len().saturating_sub(INCIDENTS_MAX);
    (more > 0).then(|| format!("and {more} more: see the report or `etcd-monitor alerts`"))
}

pub(super) fn text(message: &Message<'_>) -> String {
    let mut text = String::new();
    if let Some(lead) = message.lead() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{lead}\n");
    }
    for incident in message.group.incidents.iter().take(INCIDENTS_MAX) {
        let _ = writeln!(text, "{}\n  {}, {}", incident.summary(), incident.status(), incident.severity);
        for value in annotations(incident) {
            let _ = writeln!(text, "  {value}");
        }
        if let Some(link) = message.ack_url(incident) {
            let _ = writeln!(text, "  Acknowledge: {link}");
        }
        let _ = writeln!(text, "  {}\n", incident.labels.canonical());
    }
    if let Some(more) = more(message) {
        let _ = writeln!(text, "{more}\n");
    }
    if !message.external_url.is_empty() {
        let _ = writeln!(text, "{}\n", message.external_url);
    }
    let _ = writeln!(text, "-- \netcd-monitor, {}", message.idempotency_key);
    text
}

/// What the inline styles cannot say. Programs that drop it show the light version.
const STYLE: &str = "\
@media (prefers-color-scheme:dark){\
.ground{background:#101418!important}.card{background:#1b2128!important;border-color:#3a4450!important}\
.text{color:#e6e9ee!important}.quiet{color:#a9b4c2!important}.link{color:#84adff!important}\
.bad{color:#f97066!important}.warn{color:#fdb022!important}.good{color:#47cd89!important}}\
@media (max-width:480px){.pad{padding:14px!important}}";

const FONT: &str = "font-family:system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif";

/// Its class for dark mode, and its colour.
fn tone(incident: &Incident) -> (&'static str, &'static str) {
    match (incident.state, incident.severity) {
        (IncidentState::Resolved, _) => ("good", "#067647"),
        (_, Severity::Critical) => ("bad", "#b42318"),
        (_, Severity::Warning) => ("warn", "#93370d"),
        (_, Severity::Info) => ("quiet", "#475467"),
    }
}

/// One card per incident in a column of 600 px, of tables with inline styles: the one layout that all mail
/// programs show.
pub(super) fn html(message: &Message<'_>) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><meta name=\"supported-color-schemes\" content=\"light dark\">\
         <title>{title}</title><style>{STYLE}</style></head>\
         <body class=\"ground\" style=\"margin:0;padding:0;background:#f4f5f7\">\
         <table role=\"presentation\" class=\"ground\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" style=\"background:#f4f5f7\">\
         <tr><td align=\"center\" style=\"padding:20px 10px\">\
         <table role=\"presentation\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" style=\"max-width:600px;text-align:left\">\n\
         <tr><td class=\"text\" style=\"padding:0 4px 14px;color:#1d2939;{FONT};font-size:20px;line-height:28px;font-weight:600;word-break:break-word\">{title}</td></tr>\n",
        title = escaped(&message.subject()),
    );
    if let Some(lead) = message.lead() {
        line(&mut html, "text", "#1d2939", 15, &escaped(&lead));
    }
    for incident in message.group.incidents.iter().take(INCIDENTS_MAX) {
        card(&mut html, message, incident);
    }
    if let Some(more) = more(message) {
        line(&mut html, "text", "#1d2939", 15, &escaped(&more));
    }
    let link = escaped(message.external_url);
    if !link.is_empty() {
        let anchor = format!("<a href=\"{link}\" class=\"link\" style=\"color:#155eef\">{link}</a>");
        line(&mut html, "text", "#1d2939", 15, &anchor);
    }
    let foot = format!("etcd-monitor, {}", escaped(message.idempotency_key));
    line(&mut html, "quiet", "#667085", 12, &foot);
    html.push_str("</table></td></tr></table></body></html>\n");
    html
}

fn line(html: &mut String, class: &str, color: &str, size_px: u8, content: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(
        html,
        "<tr><td class=\"{class}\" style=\"padding:0 4px 12px;color:{color};{FONT};font-size:{size_px}px;\
         line-height:1.5;word-break:break-word\">{content}</td></tr>"
    );
}

fn card(html: &mut String, message: &Message<'_>, incident: &Incident) {
    let (class, color) = tone(incident);
    let _ = write!(
        html,
        "<tr><td style=\"padding:0 0 12px\">\
         <table role=\"presentation\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\">\
         <tr><td width=\"4\" bgcolor=\"{color}\" style=\"width:4px;background:{color};border-radius:4px 0 0 4px\"></td>\
         <td class=\"card pad\" style=\"padding:16px 20px;background:#ffffff;border:1px solid #e4e7ec;border-left:0;border-radius:0 4px 4px 0;{FONT}\">\
         <div class=\"text\" style=\"color:#1d2939;font-size:17px;line-height:24px;font-weight:600;word-break:break-word\">{}</div>\
         <div class=\"{class}\" style=\"color:{color};font-size:14px;line-height:20px;padding:2px 0 10px\">{}, {}</div>",
        escaped(incident.summary()),
        escaped(&incident.status()),
        incident.severity,
    );
    for value in annotations(incident) {
        let value = escaped(&value);
        let content = if value.starts_with("https://") && !value.contains(char::is_whitespace) {
            format!("<a href=\"{value}\" class=\"link\" style=\"color:#155eef\">{value}</a>")
        } else {
            value
        };
        let _ = write!(
            html,
            "<div class=\"text\" style=\"color:#1d2939;font-size:15px;line-height:22px;padding:0 0 8px;word-break:break-word\">{content}</div>"
        );
    }
    if let Some(link) = message.ack_url(incident) {
        let _ = write!(
            html,
            "<table role=\"presentation\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\"><tr>\
             <td bgcolor=\"#155eef\" style=\"background:#155eef;border-radius:4px\">\
             <a href=\"{}\" style=\"display:inline-block;padding:9px 18px;color:#ffffff;font-size:15px;line-height:20px;\
             font-weight:600;text-decoration:none\">Acknowledge</a></td></tr></table>",
            escaped(&link)
        );
    }
    html.push_str("<table role=\"presentation\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" style=\"margin-top:10px\">");
    for label in incident.labels.iter() {
        let _ = write!(
            html,
            "<tr><td class=\"quiet\" valign=\"top\" style=\"padding:0 14px 2px 0;color:#475467;font-size:13px;line-height:19px\">{}</td>\
             <td class=\"text\" style=\"padding:0 0 2px;color:#1d2939;font-size:13px;line-height:19px;word-break:break-all\">{}</td></tr>",
            escaped(&label.name),
            escaped(&label.value),
        );
    }
    html.push_str("</table></td></tr></table></td></tr>\n");
}

/// Text as HTML shows it, inside of elements and of double quotes. Labels are chosen by whoever runs the
/// members: hostile text.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
