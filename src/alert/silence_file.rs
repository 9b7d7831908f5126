//! Silences that a file says: created and ended by editing it, so that they can be reviewed and kept in git.

use chrono::DateTime;
use ring::digest;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Silence;

/// One thing that is wrong with the file. `line` counts from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct SilenceFileError {
    pub file: String,
    pub line: u64,
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    silences: Vec<Spanned<SilenceText>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SilenceText {
    #[serde(default)]
    matchers: Vec<String>,
    /// Absent: it has always been in effect.
    starts_at: Option<Spanned<String>>,
    /// Required, as in Alertmanager: a silence without an end is one that everybody forgets.
    ends_at: Option<Spanned<String>>,
    #[serde(default)]
    comment: String,
    #[serde(default)]
    created_by: String,
}

/// Reads the file; `file` names it in errors.
///
/// # Errors
/// The first error of the YAML itself (an unknown key among them), or else every silence that makes no sense.
pub fn parse(file: &str, text: &str) -> Result<Vec<Silence>, Vec<SilenceFileError>> {
    let fail = |line, message: String| SilenceFileError { file: file.to_owned(), line, message };
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let parsed: FileText = serde_saphyr::from_str(text).map_err(|error| {
        let sentence = error.without_snippet().to_string();
        let message =
            sentence.rsplit_once(" at line ").map_or(sentence.as_str(), |(said, _)| said).to_owned();
        vec![fail(error.location().map_or(1, |place| place.line()), message)]
    })?;
    let (mut silences, mut errors) = (Vec::new(), Vec::new());
    for entry in parsed.silences {
        match silence(file, &entry.value) {
            Ok(silence) => silences.push(silence),
            Err((line, message)) => errors.push(fail(line.unwrap_or(entry.referenced.line()), message)),
        }
    }
    if errors.is_empty() { Ok(silences) } else { Err(errors) }
}

fn silence(file: &str, text: &SilenceText) -> Result<Silence, (Option<u64>, String)> {
    let instant = |name: &str, text: &Spanned<String>| {
        let parsed = DateTime::parse_from_rfc3339(text.value.trim()).map(|at| at.timestamp_millis());
        let wanted = format!("{name}: {:?} is not an instant like 2026-11-23T18:00:00Z", text.value);
        parsed.map_err(|_| (Some(text.referenced.line()), wanted))
    };
    let starts_ms = text.starts_at.as_ref().map_or(Ok(0), |text| instant("starts-at", text))?;
    let Some(ends_at) = &text.ends_at else {
        return Err((None, "ends-at is missing: a silence has an end".to_owned()));
    };
    let ends_ms = instant("ends-at", ends_at)?;
    let key = format!("{}\n{starts_ms}\n{ends_ms}", text.matchers.join("\n"));
    let author = if text.created_by.is_empty() { file } else { &text.created_by };
    let silence = Silence {
        id: format!("file-{}", short_hash(&key)),
        matchers: text.matchers.clone(),
        starts_ms,
        ends_ms,
        author: author.to_owned(),
        comment: text.comment.clone(),
    };
    silence.check().map_err(|error| (None, error.to_string()))?;
    Ok(silence)
}

/// 10 hexadecimal digits: the same silence has the same id in every process.
pub(super) fn short_hash(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    hash.as_ref().iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_and_its_silences_keep_their_ids() {
        let text = "\
silences:
- matchers: ['alertname=Down', 'cluster=~\"test-.*\"']
  starts-at: 2026-11-23T12:00:00Z
  ends-at: 2026-11-23T14:00:00+01:00
  comment: disk swap
  created-by: ann
- matchers: [cluster=a]
  ends-at: 2027-01-01T00:00:00Z
";
        let silences = parse("silences.yaml", text).expect("valid");
        assert_eq!(silences.len(), 2);
        assert_eq!((silences[0].starts_ms, silences[0].ends_ms), (1_795_435_200_000, 1_795_438_800_000));
        assert_eq!((silences[0].author.as_str(), silences[1].author.as_str()), ("ann", "silences.yaml"));
        let renamed = text.replace("disk swap", "disk swap, second try");
        assert_eq!(parse("other.yaml", &renamed).expect("valid")[0].id, silences[0].id);
        assert_ne!(silences[0].id, silences[1].id);
        assert_eq!(parse("f", "silences: []\n"), Ok(Vec::new()));
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_line() {
        let ends = "ends-at: 2027-01-01T00:00:00Z";
        for (text, line, message) in [
            (format!("silences:\n- {ends}\n"), 2, "at least one matcher"),
            (format!("silences:\n- matchers: []\n  {ends}\n"), 2, "at least one matcher"),
            (format!("silences:\n- matchers: ['a=~\".*\"']\n  {ends}\n"), 2, "silence everything"),
            (format!("silences:\n- matchers: [down]\n  {ends}\n"), 2, "is not a matcher"),
            ("silences:\n- matchers: [a=b]\n  ends-at: soon\n".to_owned(), 3, "\"soon\" is not an instant"),
            ("silences:\n- matchers: [a=b]\n".to_owned(), 2, "ends-at is missing"),
            (
                format!("silences:\n- matchers: [a=b]\n  starts-at: 2028-01-01T00:00:00Z\n  {ends}\n"),
                2,
                "ends before",
            ),
            (format!("silences:\n- matchers: [a=b]\n  {ends}\n  end: 1\n"), 4, "end"),
            ("silences: [\n".to_owned(), 1, "unclosed bracket"),
        ] {
            let errors = parse("s.yaml", &text).expect_err(message);
            assert_eq!((errors.len(), errors[0].line), (1, line), "{text}: {errors:?}");
            assert!(
                errors[0].to_string().starts_with("s.yaml:") && errors[0].message.contains(message),
                "{errors:?}"
            );
        }
        let two = parse("s.yaml", "silences:\n- matchers: [a=b]\n- matchers: [c=d]\n").expect_err("two");
        assert_eq!(two.iter().map(|error| error.line).collect::<Vec<_>>(), [2, 3]);
    }
}
