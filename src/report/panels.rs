//! The queries behind the charts, made from the catalogue.

use std::sync::LazyLock;

use crate::model::catalogue::{Metric, Unit, catalogue, quantile_name};

/// One range query of every cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// The catalogue's metric id; the key of [`super::ClusterInput::panels`].
    pub id: String,
    pub title: String,
    /// With `$cluster` for the cluster's name. Series carry a `source` label where the catalogue has more
    /// than one source, and a `quantile` label (`p99`) where it has more than one quantile.
    pub promql: String,
    /// How far back from the newest data, ms.
    pub range_ms: i64,
    pub step_ms: i64,
    pub unit: Unit,
}

impl Panel {
    /// The expression for one cluster. Cluster names hold nothing that PromQL text would need escaped.
    pub fn for_cluster(&self, cluster: &crate::model::ClusterName) -> String {
        self.promql.replace("$cluster", cluster.as_str())
    }
}

/// Every panel, in the catalogue's order.
pub fn panels() -> &'static [Panel] {
    static PANELS: LazyLock<Vec<Panel>> =
        LazyLock::new(|| catalogue().metrics.iter().filter(|metric| metric.chart).map(panel_of).collect());
    &PANELS
}

/// Every figure of the layers, as an expression of one instant, in the catalogue's order.
pub fn figures() -> &'static [Panel] {
    static FIGURES: LazyLock<Vec<Panel>> = LazyLock::new(|| {
        catalogue().metrics.iter().filter(|metric| metric.layer.is_some()).map(panel_of).collect()
    });
    &FIGURES
}

fn panel_of(metric: &Metric) -> Panel {
    let ms = |duration: Option<crate::model::unit::ConfigDuration>, or: i64| {
        duration.map_or(or, |d| i64::try_from(d.0.as_millis()).unwrap_or(or))
    };
    Panel {
        id: metric.id.clone(),
        title: metric.title.clone(),
        promql: expression(metric),
        range_ms: ms(metric.range, 86_400_000),
        step_ms: ms(metric.step, 300_000),
        unit: metric.unit,
    }
}

fn expression(metric: &Metric) -> String {
    let quantiles = &metric.quantiles;
    match quantiles.as_slice() {
        [] => chain(metric, None),
        [one] => chain(metric, Some(*one)),
        many => {
            let parts: Vec<String> = many
                .iter()
                .map(|q| label(&chain(metric, Some(*q)), "quantile", &quantile_name(*q)))
                .collect();
            parts.join(" or ")
        }
    }
}

/// The first source with data: `a or ignoring (source) b`. `>= 0` drops the NaN of a histogram in which
/// nothing happened, so that an idle source leaves the word to the next.
fn chain(metric: &Metric, quantile: Option<f64>) -> String {
    let with_quantile = |promql: &str| match quantile {
        Some(quantile) => promql.replace("$quantile", &quantile.to_string()),
        None => promql.to_owned(),
    };
    match metric.queries.as_slice() {
        [only] => with_quantile(&only.promql),
        many => {
            let parts: Vec<String> = many
                .iter()
                .map(|query| {
                    label(&format!("({} >= 0)", with_quantile(&query.promql)), "source", &query.source)
                })
                .collect();
            parts.join(" or ignoring (source) ")
        }
    }
}

fn label(expression: &str, name: &str, value: &str) -> String {
    format!("label_replace({expression}, \"{name}\", \"{value}\", \"\", \"\")")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_name_their_source_and_quantile() {
        let panel = panels().iter().find(|p| p.id == "put_latency").expect("is there");
        for part in [
            "\"source\", \"grpc_server_handling_seconds\"",
            "\"quantile\", \"p99\"",
            " or ignoring (source) ",
        ] {
            assert!(panel.promql.contains(part), "{part} in {}", panel.promql);
        }
        assert!(!panel.promql.contains("$quantile"));
        let plain = panels().iter().find(|p| p.id == "db_size").expect("is there");
        let one = plain.for_cluster(&"prod".parse().expect("a name"));
        assert_eq!(one, "max(etcd_mvcc_db_total_size_in_bytes{cluster=\"prod\"})");
        assert_eq!((plain.range_ms, plain.step_ms), (86_400_000, 300_000));
    }
}
