//! What SQLite, Redshift and PostgreSQL say differently: macros of the form `@name(arguments)`, which each
//! dialect writes in its own way. SQLite keeps times as microseconds and dates as days since 1970.

/// Counts what changes here without a change of a view's text: a new one makes all views anew.
pub(super) const REVISION: &str = "2";

/// A dialect of SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect<'a> {
    /// The embedded warehouse.
    Sqlite,
    /// Amazon Redshift, with the quoted schema of the tables.
    Redshift(&'a str),
    /// The checkpoint store on PostgreSQL, with the quoted schema of the tables.
    Postgres(&'a str),
}

impl Dialect<'_> {
    /// The text in this dialect, without its comments.
    ///
    /// # Panics
    /// When it names a macro that is not there, which the tests of this crate see.
    pub fn render(&self, source: &str) -> String {
        let code: Vec<&str> = source
            .lines()
            .filter(|line| !line.starts_with("--"))
            .collect();
        let schema = match self {
            Self::Sqlite => String::new(),
            Self::Redshift(schema) | Self::Postgres(schema) => format!("{schema}."),
        };
        let code = code.join("\n").replace("{schema}.", &schema);
        self.expand(&code).trim().to_owned()
    }

    fn expand(&self, text: &str) -> String {
        let Some(at) = text.find('@') else {
            return text.to_owned();
        };
        let (before, rest) = text.split_at(at);
        let open = rest.find('(').unwrap_or(rest.len());
        let name = &rest[1..open];
        let (inside, after) = parenthesized(&rest[open..]);
        let arguments: Vec<String> = arguments(inside)
            .into_iter()
            .map(|argument| self.expand(argument.trim()))
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let written = self
            .write(name, &arguments)
            .unwrap_or_else(|| unreachable!("macro @{name}({inside}), rendered by every test"));
        format!("{before}{}{}", self.expand(&written), self.expand(after))
    }

    fn write(&self, name: &str, arguments: &[&str]) -> Option<String> {
        let common = both(name, arguments);
        if common.is_some() {
            return common;
        }
        match self {
            Self::Sqlite => sqlite(name, arguments),
            Self::Redshift(_) => redshift(name, arguments),
            Self::Postgres(_) => postgres(name, arguments),
        }
    }
}

/// What is in the parentheses that a text begins with, and what comes after them.
fn parenthesized(text: &str) -> (&str, &str) {
    let mut depth = 0;
    let mut quoted = false;
    for (at, sign) in text.char_indices() {
        match sign {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (text.get(1..at).unwrap_or_default(), &text[at + 1..]);
        }
    }
    (text, "")
}

/// Arguments, separated by commas that are in no parentheses and in no text.
fn arguments(inside: &str) -> Vec<&str> {
    let (mut depth, mut quoted, mut from) = (0, false, 0);
    let mut found = Vec::new();
    for (at, sign) in inside.char_indices() {
        match sign {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                found.push(&inside[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    found.push(&inside[from..]);
    found
}

/// Macros that are shorthand, and the same in both. (`@round` is in each dialect; what it adds decides
/// alike what lies in the middle, which binary numbers do not.)
fn both(name: &str, arguments: &[&str]) -> Option<String> {
    match (name, arguments) {
        // A symbol of an enumeration of the schemas; a test looks it up there.
        ("symbol", [_, symbol]) => Some(format!("'{symbol}'")),
        // Elements of an array that was flattened, by their number.
        ("array", [number, length, column]) => {
            let length: usize = length.parse().ok()?;
            let arms: String = (0..length)
                .map(|at| format!(" WHEN {at} THEN {}", column.replace('%', &at.to_string())))
                .collect();
            Some(format!("CASE {number}{arms} END"))
        }
        // Elements of an array that was flattened, as one text; they have no NULL between them.
        ("join", [length, column, separator]) => {
            let length: usize = length.parse().ok()?;
            let one = |at: usize| column.replace('%', &at.to_string());
            let more: String = (1..length)
                .map(|at| format!(" || COALESCE({separator} || {}, '')", one(at)))
                .collect();
            Some(format!("({}{more})", one(0)))
        }
        ("rates", [of]) => Some(rates(of, |rate| rate)),
        ("rates_rounded", [of]) => Some(rates(of, |rate| format!("@round({rate}, 4)"))),
        _ => None,
    }
}

/// The rates of outcomes, each of the cases for which it is known.
fn rates(of: &str, finish: impl Fn(String) -> String) -> String {
    let share = |counts: &str, known: &str| {
        finish(format!(
            "AVG(CASE WHEN {counts} THEN 1.0 WHEN {known} THEN 0.0 END)"
        ))
    };
    format!(
        "{} AS success_rate, {} AS complication_rate, {} AS readmission_rate",
        share(
            &format!("{of}.success_status = @symbol(SuccessStatus, successful)"),
            &format!("{of}.success_status IS NOT NULL")
        ),
        share(
            &format!(
                "{of}.complication_level IN (@symbol(Severity, moderate), @symbol(Severity, severe))"
            ),
            &format!("{of}.complication_level IS NOT NULL")
        ),
        share(
            &format!("{of}.readmission_30day"),
            &format!("{of}.readmission_30day IS NOT NULL")
        ),
    )
}

/// A text that differs where one of the values does.
fn fingerprint(values: &[&str], separator: &str) -> String {
    let parts: Vec<String> = values
        .iter()
        .map(|value| format!("COALESCE('=' || CAST({value} AS VARCHAR), '')"))
        .collect();
    parts.join(&format!(" || {separator} || "))
}

fn sqlite(name: &str, arguments: &[&str]) -> Option<String> {
    let written = match (name, arguments) {
        // What is asked for more than once SQLite would put together each time.
        ("once", [query]) => format!("MATERIALIZED ({query})"),
        ("past", _) => "-62135596800000000".to_owned(),
        ("future", _) => "253370764800000000".to_owned(),
        ("date_key", [time]) => {
            format!("CAST(strftime('%Y%m%d', ({time}) / 1000000, 'unixepoch') AS INTEGER)")
        }
        ("time_key", [time]) => {
            format!("CAST(strftime('%H%M', ({time}) / 1000000, 'unixepoch') AS INTEGER) * 100")
        }
        ("stamp", [time]) => format!(
            "(strftime('%Y%m%d%H%M%S', ({time}) / 1000000, 'unixepoch') || printf('%06d', ({time}) % 1000000))"
        ),
        ("seconds", [from, to]) => format!("((({to}) - ({from})) / 1000000.0)"),
        ("days_before", [time, days]) => format!("(({time}) - {days} * 86400000000)"),
        ("days_spanned", [from, to]) => {
            format!("(({to}) / 86400000000 - ({from}) / 86400000000 + 1)")
        }
        ("years", [date, time]) => format!("((({time}) / 86400000000 - ({date})) / 365.25)"),
        ("hour", [time]) => format!("(({time}) - ({time}) % 3600000000)"),
        ("day", [time]) => format!("(({time}) - ({time}) % 86400000000)"),
        ("tiles", [start, size]) => {
            format!("(3600000000 % ({size}) = 0 AND ({start}) % ({size}) = 0)")
        }
        ("date", [time]) => format!("(({time}) / 86400000000)"),
        ("json" | "json_nested", [text, key]) => format!("json_extract({text}, '$.{key}')"),
        ("element", [text, number]) => format!("json_extract({text}, '$[' || {number} || ']')"),
        ("element", [text, number, key]) => {
            format!("json_extract({text}, '$[' || {number} || '].{key}')")
        }
        ("elements_of", [text, _]) => format!("json_each({text}) element"),
        ("each", [_, key]) => format!("json_extract(element.value, '$.{key}')"),
        ("each_integer", [_, key]) => {
            format!("CAST(json_extract(element.value, '$.{key}') AS INTEGER)")
        }
        ("each_number", [_, key]) => {
            format!("CAST(json_extract(element.value, '$.{key}') AS REAL)")
        }
        ("json_integer", [text, key]) => {
            format!("CAST(json_extract({text}, '$.{key}') AS INTEGER)")
        }
        ("json_boolean", [text, key]) => format!("json_extract({text}, '$.{key}')"),
        ("greatest", values) => format!("max({})", values.join(", ")),
        ("round", [value, digits]) => format!("ROUND({value} + 1e-9, {digits})"),
        ("fingerprint", values) => fingerprint(values, "char(31)"),
        _ => return None,
    };
    Some(written)
}

fn redshift(name: &str, arguments: &[&str]) -> Option<String> {
    let json =
        |text: &str, key: &str| format!("NULLIF(JSON_EXTRACT_PATH_TEXT({text}, '{key}'), '')");
    let element = |text: &str, number: &str| {
        format!("NULLIF(JSON_EXTRACT_ARRAY_ELEMENT_TEXT({text}, {number}), '')")
    };
    let each = |text: &str, key: &str| json(&element(text, "place.number"), key);
    let written = match (name, arguments) {
        ("once", [query]) => format!("({query})"),
        ("past", _) => "CAST('0001-01-01 00:00:00' AS TIMESTAMP)".to_owned(),
        ("future", _) => "CAST('9999-01-01 00:00:00' AS TIMESTAMP)".to_owned(),
        ("date_key", [time]) => format!("CAST(TO_CHAR({time}, 'YYYYMMDD') AS INTEGER)"),
        ("time_key", [time]) => format!("CAST(TO_CHAR({time}, 'HH24MI') AS INTEGER) * 100"),
        ("stamp", [time]) => format!("TO_CHAR({time}, 'YYYYMMDDHH24MISSUS')"),
        ("seconds", [from, to]) => {
            format!("CAST(EXTRACT(epoch FROM ({to}) - ({from})) AS DOUBLE PRECISION)")
        }
        ("days_before", [time, days]) => format!("(({time}) - INTERVAL '{days} days')"),
        ("days_spanned", [from, to]) => {
            format!("(CAST({to} AS DATE) - CAST({from} AS DATE) + 1)")
        }
        ("years", [date, time]) => format!("((CAST({time} AS DATE) - ({date})) / 365.25)"),
        ("hour", [time]) => format!("DATE_TRUNC('hour', {time})"),
        ("day", [time]) => format!("DATE_TRUNC('day', {time})"),
        ("tiles", [start, size]) => format!(
            "({size} >= 1000000 AND MOD(3600000000, CASE WHEN {size} > 0 THEN {size} ELSE 1 END) = 0 AND MOD(CAST(EXTRACT(epoch FROM {start}) AS BIGINT), CASE WHEN {size} >= 1000000 THEN {size} / 1000000 ELSE 1 END) = 0)"
        ),
        ("json", [text, key]) => json(text, key),
        ("element", [text, number]) => element(text, number),
        ("element", [text, number, key]) => json(&element(text, number), key),
        // The minutes of an hour number the elements, of which there are 60 at most: there are no
        // functions that make rows.
        ("elements_of", [text, times]) => format!(
            "(SELECT minute AS number FROM {times} WHERE hour = 0) place ON place.number < JSON_ARRAY_LENGTH({text})"
        ),
        ("each", [text, key]) => each(text, key),
        ("each_integer", [text, key]) => format!("CAST({} AS BIGINT)", each(text, key)),
        ("each_number", [text, key]) => format!("CAST({} AS DOUBLE PRECISION)", each(text, key)),
        ("json_integer", [text, key]) => format!("CAST({} AS INTEGER)", json(text, key)),
        ("json_boolean", [text, key]) => {
            let value = json(text, key);
            format!("CASE {value} WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END")
        }
        ("greatest", values) => format!("GREATEST({})", values.join(", ")),
        ("round", [value, digits]) => {
            format!(
                "CAST(ROUND(CAST({value} + 1e-9 AS DECIMAL(38, 10)), {digits}) AS DOUBLE PRECISION)"
            )
        }
        ("fingerprint", values) => fingerprint(values, "CHR(31)"),
        _ => return None,
    };
    Some(written)
}

/// What the views for people name. What is nested is `jsonb` there.
fn postgres(name: &str, arguments: &[&str]) -> Option<String> {
    let written = match (name, arguments) {
        ("date", [time]) => format!("CAST(({time}) AT TIME ZONE 'UTC' AS DATE)"),
        ("json", [value, key]) => format!("({value} ->> '{key}')"),
        ("json_nested", [value, key]) => format!("({value} -> '{key}')"),
        ("json_integer", [value, key]) => format!("CAST({value} ->> '{key}' AS INTEGER)"),
        ("json_boolean", [value, key]) => format!("CAST({value} ->> '{key}' AS BOOLEAN)"),
        _ => return None,
    };
    Some(written)
}
