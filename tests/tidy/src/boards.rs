//! Boards for Grafana, made of one declarative file: each panel says what it shows, and what is the
//! same in all of them stands here.

use serde::Deserialize;
use serde_json::{Value, json};

/// The labels that the variables of a board choose, in a query: `$on`.
const ON: &str =
    "cluster=~\"$cluster\", namespace=~\"$namespace\", job=~\"$job\", instance=~\"$instance\"";
/// The variables, each with the labels that narrow its values.
const VARIABLES: [(&str, &str); 4] = [
    ("cluster", ""),
    ("namespace", "cluster=~\"$cluster\""),
    ("job", "cluster=~\"$cluster\", namespace=~\"$namespace\""),
    (
        "instance",
        "cluster=~\"$cluster\", namespace=~\"$namespace\", job=~\"$job\"",
    ),
];
/// Height of a panel, in units of Grafana's grid.
const HEIGHT: u64 = 8;
/// Height of a row's title.
const ROW_HEIGHT: u64 = 1;
/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;

/// The file of boards.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boards {
    /// The boards.
    pub board: Vec<Board>,
}

/// A board.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// Name of its file.
    pub file: String,
    /// Its name for links, which never changes.
    pub uid: String,
    /// Its title.
    pub title: String,
    /// What it is for.
    pub description: String,
    /// Its rows.
    pub row: Vec<Row>,
}

/// Panels with a title.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The title.
    pub title: String,
    /// The panels.
    pub panel: Vec<Panel>,
}

/// A panel.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Panel {
    /// Its title.
    pub title: String,
    /// What is to be seen.
    pub description: String,
    /// Kind of panel.
    #[serde(default = "timeseries")]
    pub kind: String,
    /// Unit, as Grafana calls it.
    pub unit: String,
    /// Columns, of 24.
    pub width: u64,
    /// Its queries.
    pub queries: Vec<PanelQuery>,
}

/// A query of a panel.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PanelQuery {
    /// The query; `$on` stands for the labels that are chosen.
    pub expr: String,
    /// What a series is called.
    pub legend: String,
}

fn timeseries() -> String {
    "timeseries".to_owned()
}

impl Boards {
    /// Reads the file.
    ///
    /// # Errors
    /// Says what is wrong in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }
}

impl PanelQuery {
    /// The query as Grafana gets it.
    #[must_use]
    pub fn expression(&self) -> String {
        self.expr.replace("$on", ON)
    }
}

impl Board {
    /// All its panels.
    pub fn panels(&self) -> impl Iterator<Item = &Panel> {
        self.row.iter().flat_map(|row| &row.panel)
    }

    /// The file that Grafana reads.
    ///
    /// # Panics
    /// Never: what is made here can be written.
    #[must_use]
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(&self.model()).expect("a board is plain data");
        text.push('\n');
        text
    }

    fn model(&self) -> Value {
        let mut panels = Vec::new();
        let (mut id, mut y) = (0, 0);
        for row in &self.row {
            id += 1;
            panels.push(json!({
                "id": id,
                "type": "row",
                "title": row.title,
                "collapsed": false,
                "gridPos": { "h": ROW_HEIGHT, "w": COLUMNS, "x": 0, "y": y },
                "panels": [],
            }));
            y += ROW_HEIGHT;
            let mut x = 0;
            for panel in &row.panel {
                if x + panel.width > COLUMNS {
                    (x, y) = (0, y + HEIGHT);
                }
                id += 1;
                panels.push(panel.model(id, x, y));
                x += panel.width;
            }
            y += HEIGHT;
        }
        json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["theatre"],
            "schemaVersion": 39,
            "version": 1,
            "editable": false,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": { "from": "now-6h", "to": "now" },
            "timezone": "",
            "annotations": { "list": [] },
            "links": [{
                "type": "dashboards",
                "title": "Theatre",
                "icon": "external link",
                "tooltip": "The other boards of Theatre",
                "tags": ["theatre"],
                "asDropdown": true,
                "includeVars": true,
                "keepTime": true,
                "targetBlank": false,
            }],
            "templating": { "list": variables() },
            "panels": panels,
        })
    }
}

/// The variables of every board: which Prometheus, and which part of what it scrapes.
fn variables() -> Vec<Value> {
    let datasource = json!({
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
    });
    let of_label = |(label, within): (&str, &str)| {
        json!({
            "name": label,
            "label": label,
            "type": "query",
            "datasource": source(),
            "query": format!("label_values(theatre_build_info{{{within}}}, {label})"),
            "refresh": 2,
            "sort": 1,
            "multi": true,
            "includeAll": true,
            // Also what has no such label.
            "allValue": ".*",
            "current": { "text": "All", "value": "$__all" },
        })
    };
    let labels = VARIABLES.into_iter().map(of_label);
    std::iter::once(datasource).chain(labels).collect()
}

fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

impl Panel {
    fn model(&self, id: u64, x: u64, y: u64) -> Value {
        let targets = self.queries.iter().zip('A'..).map(|(query, name)| {
            json!({
                "refId": name.to_string(),
                "datasource": source(),
                "expr": query.expression(),
                "legendFormat": query.legend,
                "editorMode": "code",
                "range": self.kind != "stat",
                "instant": self.kind == "stat",
            })
        });
        let options = match self.kind.as_str() {
            "stat" => json!({
                "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
                "colorMode": "none",
                "graphMode": "none",
                "textMode": "auto",
            }),
            _ => json!({
                "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true },
                "tooltip": { "mode": "multi", "sort": "desc" },
            }),
        };
        json!({
            "id": id,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": source(),
            "gridPos": { "h": HEIGHT, "w": self.width, "x": x, "y": y },
            "fieldConfig": { "defaults": { "unit": self.unit }, "overrides": [] },
            "options": options,
            "targets": targets.collect::<Vec<_>>(),
        })
    }
}

/// Finds what a reader of the boards would miss: descriptions, units, names that others have.
#[must_use]
pub fn check(boards: &Boards) -> crate::Findings {
    let mut findings = crate::Findings::new();
    let mut seen = std::collections::BTreeSet::new();
    for board in &boards.board {
        for name in [&board.file, &board.uid, &board.title] {
            if !seen.insert(name) {
                findings.push(format!("board {}: {name} is another's", board.file));
            }
        }
        for panel in board.panels() {
            let place = format!("board {}: panel '{}'", board.file, panel.title);
            for (what, text) in [
                ("title", &panel.title),
                ("description", &panel.description),
                ("unit", &panel.unit),
            ] {
                if text.trim().is_empty() {
                    findings.push(format!("{place}: has no {what}"));
                }
            }
            if panel.width == 0 || panel.width > COLUMNS {
                findings.push(format!("{place}: is {} columns wide", panel.width));
            }
            if panel.queries.is_empty() {
                findings.push(format!("{place}: has no query"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{Boards, check};

    const GOOD: &str = r#"
        [[board]]
        file = "a"
        uid = "theatre-a"
        title = "A"
        description = "All of it."
        [[board.row]]
        title = "Row"
        [[board.row.panel]]
        title = "Wide"
        description = "Is wide."
        unit = "s"
        width = 20
        queries = [{ expr = "x{$on}", legend = "{{partition}}" }]
        [[board.row.panel]]
        title = "Next"
        description = "Does not fit beside it."
        kind = "stat"
        unit = "s"
        width = 8
        queries = [{ expr = "y", legend = "y" }, { expr = "z", legend = "z" }]
    "#;

    #[test]
    fn panels_stand_beside_and_below_each_other_and_ask_for_what_is_chosen() {
        let boards = Boards::parse(GOOD).unwrap();
        assert_eq!(check(&boards), [""; 0]);
        let model = boards.board[0].model();
        let panels = model["panels"].as_array().unwrap();
        let places: Vec<(u64, u64)> = panels
            .iter()
            .map(|panel| {
                let place = |axis: &str| panel["gridPos"][axis].as_u64().unwrap();
                (place("x"), place("y"))
            })
            .collect();
        assert_eq!(places, [(0, 0), (0, 1), (0, 9)]);
        let query = panels[1]["targets"][0]["expr"].as_str().unwrap();
        assert!(query.contains("instance=~\"$instance\"}"), "{query}");
        assert_eq!(panels[2]["targets"][1]["refId"], "B");
        assert_eq!(model["templating"]["list"].as_array().unwrap().len(), 5);
    }

    #[test]
    fn what_is_missing_or_there_twice_is_found() {
        let bad = GOOD
            .replace("description = \"Is wide.\"", "description = \" \"")
            .replace("width = 8", "width = 25");
        let twice = format!("{bad}\n{GOOD}");
        let findings = check(&Boards::parse(&twice).unwrap());
        assert_eq!(
            findings,
            [
                "board a: panel 'Wide': has no description",
                "board a: panel 'Next': is 25 columns wide",
                "board a: a is another's",
                "board a: theatre-a is another's",
                "board a: A is another's",
            ]
        );
        assert!(Boards::parse(&GOOD.replace("unit", "units")).is_err());
    }
}
