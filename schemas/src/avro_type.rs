//! Avro schemas as trees, with the properties Theatre reads: `unit`, `person`, `length`, `theatre`.
//!
//! apache-avro validates a schema first; this walk over its JSON keeps the properties that
//! apache-avro's model drops.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::dataset::SchemaError;

/// Types nested deeper than this are refused, which also refuses recursive types.
pub(crate) const DEPTH_MAX: usize = 12;

/// Most types of a schema, each as often as it is named: types that name each other twice would
/// make any number of them of a few lines.
const TYPES_MAX: usize = 1 << 16;

/// Longest fixed type, bytes: a value of it is in memory as a whole.
const FIXED_MAX: usize = 1 << 24;

/// The logical types that change a column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logical {
    None,
    TimestampMillis,
    TimestampMicros,
    Date,
    Decimal { precision: u32, scale: u32 },
}

/// An Avro type with named types resolved.
#[derive(Debug, Clone)]
pub(crate) enum AvroType {
    Null,
    Boolean,
    Int(Logical),
    Long(Logical),
    Float,
    Double,
    Bytes(Logical),
    String,
    Fixed(usize, Logical),
    Enum {
        symbols: Vec<String>,
        default: Option<String>,
    },
    Record(Arc<Vec<AvroField>>),
    Array {
        items: Box<AvroType>,
        /// Theatre's property: the largest number of elements.
        length: Option<usize>,
    },
    Map(Box<AvroType>),
    Union(Vec<AvroType>),
}

/// A field of a record, with Theatre's properties of the field or of its type.
#[derive(Debug, Clone)]
pub(crate) struct AvroField {
    pub(crate) name: String,
    pub(crate) avro_type: AvroType,
    pub(crate) doc: Option<String>,
    pub(crate) unit: Option<String>,
    pub(crate) person: Option<String>,
    /// As the schema writes it; `None`: a writer has to give a value.
    pub(crate) default: Option<Value>,
}

/// Parses a record schema; returns its fields and the root's JSON.
pub(crate) fn parse(json: &str) -> Result<(Arc<Vec<AvroField>>, Value), SchemaError> {
    apache_avro::Schema::parse_str(json)
        .map_err(|error| SchemaError::Invalid(error.to_string()))?;
    let root: Value =
        serde_json::from_str(json).map_err(|error| SchemaError::Invalid(error.to_string()))?;
    let mut named_types = NamedTypes {
        known: HashMap::new(),
        walked: 0,
    };
    match named_types.walk(&root, "", 0)? {
        AvroType::Record(fields) => Ok((fields, root)),
        _ => Err(SchemaError::Invalid(
            "the root of a dataset's schema must be a record".to_owned(),
        )),
    }
}

/// The named types defined so far, which later parts of the schema may refer to.
struct NamedTypes<'a> {
    /// By full name: the definition, and the namespace that applies inside it.
    known: HashMap<String, (&'a Value, String)>,
    /// Types so far, each as often as it is named.
    walked: usize,
}

impl<'a> NamedTypes<'a> {
    fn walk(
        &mut self,
        schema: &'a Value,
        namespace: &str,
        depth: usize,
    ) -> Result<AvroType, SchemaError> {
        if depth > DEPTH_MAX {
            return Err(SchemaError::Invalid(format!(
                "types are nested (or recursive) deeper than {DEPTH_MAX} levels"
            )));
        }
        self.walked += 1;
        if self.walked > TYPES_MAX {
            return Err(SchemaError::Invalid(format!(
                "there are more than {TYPES_MAX} types in it, each counted as often as it is named"
            )));
        }
        match schema {
            Value::String(name) => self.named(name, namespace, depth),
            Value::Array(branches) => {
                let branches: Result<Vec<_>, _> = branches
                    .iter()
                    .map(|branch| self.walk(branch, namespace, depth + 1))
                    .collect();
                Ok(AvroType::Union(branches?))
            }
            Value::Object(_) => self.object(schema, namespace, depth),
            other => Err(SchemaError::Invalid(format!("{other} is not a type"))),
        }
    }

    fn named(
        &mut self,
        name: &str,
        namespace: &str,
        depth: usize,
    ) -> Result<AvroType, SchemaError> {
        let primitive = match name {
            "null" => AvroType::Null,
            "boolean" => AvroType::Boolean,
            "int" => AvroType::Int(Logical::None),
            "long" => AvroType::Long(Logical::None),
            "float" => AvroType::Float,
            "double" => AvroType::Double,
            "bytes" => AvroType::Bytes(Logical::None),
            "string" => AvroType::String,
            _ => {
                let full = full_name(name, namespace);
                let (schema, inner_namespace) = self
                    .known
                    .get(&full)
                    .or_else(|| self.known.get(name))
                    .cloned()
                    .ok_or_else(|| {
                        SchemaError::Invalid(format!(
                            "type '{name}' is not defined before it is used"
                        ))
                    })?;
                return self.object(schema, &inner_namespace, depth + 1);
            }
        };
        Ok(primitive)
    }

    fn object(
        &mut self,
        schema: &'a Value,
        namespace: &str,
        depth: usize,
    ) -> Result<AvroType, SchemaError> {
        let kind = &schema["type"];
        let Some(kind) = kind.as_str() else {
            return self.walk(kind, namespace, depth + 1);
        };
        let inner_namespace = self.register(schema, kind, namespace);
        let logical = logical(schema);
        Ok(match kind {
            "record" | "error" => {
                AvroType::Record(Arc::new(self.fields(schema, &inner_namespace, depth)?))
            }
            "enum" => AvroType::Enum {
                symbols: strings(&schema["symbols"]),
                default: schema["default"].as_str().map(str::to_owned),
            },
            "array" => AvroType::Array {
                items: Box::new(self.walk(&schema["items"], namespace, depth + 1)?),
                length: schema["length"]
                    .as_u64()
                    .and_then(|length| usize::try_from(length).ok()),
            },
            "map" => AvroType::Map(Box::new(self.walk(
                &schema["values"],
                namespace,
                depth + 1,
            )?)),
            "fixed" => AvroType::Fixed(fixed_size(schema)?, logical),
            "int" => AvroType::Int(logical),
            "long" => AvroType::Long(logical),
            "bytes" => AvroType::Bytes(logical),
            other => self.named(other, namespace, depth)?,
        })
    }

    fn fields(
        &mut self,
        schema: &'a Value,
        namespace: &str,
        depth: usize,
    ) -> Result<Vec<AvroField>, SchemaError> {
        let fields = schema["fields"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        fields
            .iter()
            .map(|field| {
                let text = |key: &str| {
                    field[key]
                        .as_str()
                        .or_else(|| field["type"][key].as_str())
                        .map(str::to_owned)
                };
                Ok(AvroField {
                    name: field["name"].as_str().unwrap_or_default().to_owned(),
                    avro_type: self.walk(&field["type"], namespace, depth + 1)?,
                    doc: field["doc"].as_str().map(str::to_owned),
                    unit: text("unit"),
                    person: text("person"),
                    default: field.get("default").cloned(),
                })
            })
            .collect()
    }

    /// Remembers a named type; returns the namespace that applies inside it.
    fn register(&mut self, schema: &'a Value, kind: &str, namespace: &str) -> String {
        let Some(name) = schema["name"].as_str() else {
            return namespace.to_owned();
        };
        if !matches!(kind, "record" | "error" | "enum" | "fixed") {
            return namespace.to_owned();
        }
        let outer = schema["namespace"].as_str().unwrap_or(namespace);
        let full = full_name(name, outer);
        let inner_namespace = full
            .rsplit_once('.')
            .map_or(String::new(), |(space, _)| space.to_owned());
        self.known.insert(full, (schema, inner_namespace.clone()));
        inner_namespace
    }
}

fn fixed_size(schema: &Value) -> Result<usize, SchemaError> {
    let size = schema["size"].as_u64().unwrap_or(0);
    let taken = usize::try_from(size).ok().filter(|size| *size <= FIXED_MAX);
    taken.ok_or_else(|| {
        SchemaError::Invalid(format!(
            "a fixed of {size} bytes is longer than a record: {FIXED_MAX} at most are taken"
        ))
    })
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn logical(schema: &Value) -> Logical {
    match schema["logicalType"].as_str() {
        Some("timestamp-millis") => Logical::TimestampMillis,
        Some("timestamp-micros") => Logical::TimestampMicros,
        Some("date") => Logical::Date,
        Some("decimal") => Logical::Decimal {
            precision: schema["precision"].as_u64().unwrap_or(0) as u32,
            scale: schema["scale"].as_u64().unwrap_or(0) as u32,
        },
        _ => Logical::None,
    }
}
