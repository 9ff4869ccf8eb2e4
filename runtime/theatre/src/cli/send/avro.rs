//! JSON as a value of an Avro schema: times and dates as people write them, decimals with all of
//! their digits.

use apache_avro::Schema;
use apache_avro::types::Value;
use serde_json::Value as Json;

/// A JSON value as one of the schema; fields that are missing take their defaults later.
pub(super) fn value(schema: &Schema, json: &Json) -> Result<Value, String> {
    match (schema, json) {
        (Schema::Union(union), _) => {
            let is_null = json.is_null();
            let fits = |branch: &&Schema| (**branch == Schema::Null) == is_null;
            let found = union.variants().iter().enumerate();
            let mut found = found.filter(|(_, branch)| fits(branch));
            let (at, branch) = found.next().ok_or("a value is needed")?;
            Ok(Value::Union(at as u32, Box::new(value(branch, json)?)))
        }
        (Schema::Null, Json::Null) => Ok(Value::Null),
        (Schema::Record(record), Json::Object(object)) => {
            let known = |name: &String| record.fields.iter().any(|field| field.name == *name);
            if let Some(unknown) = object.keys().find(|name| !known(name)) {
                return Err(format!("there is no field '{unknown}'"));
            }
            let fields = record.fields.iter().filter_map(|field| {
                let json = object.get(&field.name)?;
                let read = value(&field.schema, json);
                Some(match read {
                    Ok(value) => Ok((field.name.clone(), value)),
                    Err(why) => Err(format!("'{}': {why}", field.name)),
                })
            });
            Ok(Value::Record(fields.collect::<Result<_, _>>()?))
        }
        (Schema::Array(of), Json::Array(items)) => {
            let items = items.iter().map(|item| value(&of.items, item));
            Ok(Value::Array(items.collect::<Result<_, _>>()?))
        }
        (Schema::Enum(of), Json::String(text)) => {
            let at = of.symbols.iter().position(|symbol| symbol == text);
            let at = at.ok_or_else(|| format!("it is none of {}", of.symbols.join(", ")))?;
            Ok(Value::Enum(at as u32, text.clone()))
        }
        (Schema::String, Json::String(text)) => Ok(Value::String(text.clone())),
        (Schema::Boolean, Json::Bool(flag)) => Ok(Value::Boolean(*flag)),
        _ => number(schema, json),
    }
}

fn number(schema: &Schema, json: &Json) -> Result<Value, String> {
    match (schema, json) {
        (Schema::TimestampMicros, Json::String(text)) => {
            let time: jiff::Timestamp = text
                .parse()
                .map_err(|_| "it is no time such as 2026-01-31T08:00:00Z")?;
            Ok(Value::TimestampMicros(time.as_microsecond()))
        }
        (Schema::TimestampMicros, Json::Number(number)) => number
            .as_i64()
            .map(Value::TimestampMicros)
            .ok_or_else(|| "it is no number of microseconds".to_owned()),
        (Schema::Date, Json::String(text)) => {
            let day: jiff::civil::Date = text
                .parse()
                .map_err(|_| "it is no date such as 2026-01-31")?;
            let since = day.duration_since(jiff::civil::Date::constant(1970, 1, 1));
            Ok(Value::Date(since.as_hours().div_euclid(24) as i32))
        }
        (Schema::Decimal(of), Json::String(_) | Json::Number(_)) => {
            let text = json
                .as_str()
                .map_or_else(|| json.to_string(), str::to_owned);
            let units = units(&text, of.precision, of.scale).ok_or_else(|| {
                format!(
                    "it is no decimal of {} digits, {} of them after the point",
                    of.precision, of.scale
                )
            })?;
            Ok(Value::Decimal(units.to_be_bytes().to_vec().into()))
        }
        (Schema::Int, Json::Number(number)) => (number.as_i64())
            .and_then(|number| i32::try_from(number).ok())
            .map(Value::Int)
            .ok_or_else(|| "it is no whole number of 32 bits".to_owned()),
        (Schema::Long, Json::Number(number)) => number
            .as_i64()
            .map(Value::Long)
            .ok_or_else(|| "it is no whole number".to_owned()),
        (Schema::Double, Json::Number(number)) => number
            .as_f64()
            .map(Value::Double)
            .ok_or_else(|| "it is no number".to_owned()),
        (_, json) => Err(format!("{json} is of another type than the schema's")),
    }
}

/// A decimal in units of its last digit; none where it has too many digits.
fn units(text: &str, precision: usize, scale: usize) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || fraction.len() > scale || whole.len() + scale > precision {
        return None;
    }
    let all = format!("{whole}{fraction:0<scale$}");
    let is_plain = all.bytes().all(|digit| digit.is_ascii_digit());
    let units: i64 = all.parse().ok().filter(|_| is_plain)?;
    Some(sign * units)
}
