use super::*;

fn render(template: &str, value: f64) -> String {
    let labels = Labels::from_pairs([("instance", "m1:2379"), ("cluster", "prod")]);
    let external_labels = Labels::from_pairs([("site", "eu")]);
    let query = |query: &str| match query {
        "none" => Ok(Vec::new()),
        "two" => Ok(["b", "a"].map(|name| (Labels::from_pairs([("name", name)]), 2.5)).to_vec()),
        other => Err(format!("no {other}")),
    };
    let external_url = "https://status.example.com/etcd";
    let data = TemplateData {
        labels: &labels,
        value,
        external_labels: &external_labels,
        external_url,
        query: &query,
    };
    Template::parse(template).unwrap_or_else(|error| panic!("{template}: {error}")).render(&data)
}

/// `tests/it/templates.rs` compares with Prometheus; here is what the language is for.
#[test]
fn renders() {
    for (template, value, text) in [
        ("plain", 1.0, "plain"),
        ("", 1.0, ""),
        ("{{ $labels.cluster }}/{{$labels.instance}}", 1.0, "prod/m1:2379"),
        ("[{{ $labels.nope }}]", 1.0, "[]"),
        ("{{ .Labels.cluster | toUpper }} {{ .Value }}", 2.5, "PROD 2.5"),
        ("{{ $value | humanize }}", 1_234_567.0, "1.235M"),
        ("{{ $value | humanizeDuration }}", 3_725.0, "1h 2m 5s"),
        ("{{ printf \"%.0f | 100%%\" $value }}", 7.0, "7 | 100%"),
        ("a {{- $value -}} b", 7.0, "a7b"),
        ("a {{- /* why */ -}} b", 7.0, "ab"),
        ("{{ if gt $value 5.0 }}many{{ else if eq $value 5.0 }}five{{ else }}few{{ end }}", 5.0, "five"),
        ("{{ with query \"two\" }}{{ . | first | label \"name\" }}{{ end }}", 1.0, "b"),
        (
            "{{ range query \"two\" | sortByLabel \"name\" }}{{ .Labels.name }}={{ .Value }} {{ end }}",
            1.0,
            "a=2.5 b=2.5 ",
        ),
        ("{{ range query \"none\" }}x{{ else }}nothing{{ end }}", 1.0, "nothing"),
        (
            "{{ range $i, $s := query \"two\" }}{{ if $i }}, {{ end }}{{ $s.Labels.name }}{{ end }}",
            1.0,
            "b, a",
        ),
        ("{{ $n := 0 }}{{ range query \"two\" }}{{ $n = .Value }}{{ end }}{{ $n }}", 1.0, "2.5"),
        (
            "{{ $externalLabels.site }} {{ $externalURL }} {{ pathPrefix }}",
            1.0,
            "eu https://status.example.com/etcd /etcd",
        ),
        ("{{ define \"x\" }}<{{ . }}>{{ end }}{{ template \"x\" $value }}", 1.5, "<1.5>"),
    ] {
        assert_eq!(render(template, value), text, "{template}");
    }
}

#[test]
fn what_goes_wrong_with_the_data_is_said_in_the_text() {
    for (template, says) in [
        ("{{ query \"none\" | first }}", "no elements"),
        ("{{ query \"broken\" }}", "no broken"),
        ("{{ humanize $labels.cluster }}", "\"prod\" is no number"),
        ("{{ gt $value 5 }}", "write 5.0"),
        ("{{ .Nope }}", "field Nope"),
        ("{{ $value.Field }}", "in type float64"),
        ("{{ define \"x\" }}{{ template \"x\" }}{{ end }}{{ template \"x\" }}", "maximum template depth"),
    ] {
        let text = render(template, 1.0);
        assert!(text.starts_with("<error expanding template: ") && text.contains(says), "{template}: {text}");
    }
}

#[test]
fn what_is_not_known_is_an_error_at_load() {
    for (bad, says) in [
        ("{{ $value", "without"),
        ("{{ \"}}", "ends with"),
        ("{{ $value | shout }}", "\"shout\""),
        ("{{ $nope }}", "$labels"),
        ("{{ if $value }}x", "{{ end }}"),
        ("{{ end }}", "closes nothing"),
        ("{{ }}", "missing"),
        ("{{ $value | $value }}", "a function"),
        ("{{ template \"nope\" }}", "is defined"),
        ("{{ break }}", "no range"),
    ] {
        let error = Template::parse(bad).expect_err(bad).to_string();
        assert!(error.contains(says), "{bad}: {error}");
    }
}

#[test]
fn what_it_will_ask_is_known_where_the_words_are() {
    let queries = |text: &str| -> Vec<Option<String>> {
        let template = Template::parse(text).expect(text);
        template.queries().into_iter().map(|query| query.map(str::to_owned)).collect()
    };
    let up = || Some("up".to_owned());
    assert_eq!(queries("{{ query \"up\" | len }} {{ with `up` | query }}{{ end }}"), [up(), up()]);
    assert_eq!(
        queries("{{ if (query `up`) }}{{ define \"x\" }}{{ query `up` }}{{ end }}{{ end }}"),
        [up(), up()]
    );
    assert_eq!(queries("{{ printf \"up{instance='%s'}\" $labels.instance | query | len }}"), [None]);
    assert_eq!(queries("{{ $labels.query }}"), []);
}
