//! Decimals: big-endian two's complement, by the specification.

/// The units of a decimal's last digit (big-endian two's complement); `None` beyond 64 bits.
pub(crate) fn units(bytes: &[u8]) -> Option<i64> {
    let sign: u8 = match bytes.first() {
        Some(first) if first & 0x80 != 0 => 0xff,
        _ => 0,
    };
    let (longer, last) = bytes.split_at(bytes.len().saturating_sub(8));
    let mut eight = [sign; 8];
    eight[8 - last.len()..].copy_from_slice(last);
    let value = i64::from_be_bytes(eight);
    let fits = longer.iter().all(|byte| *byte == sign) && (value < 0) == (sign == 0xff);
    fits.then_some(value)
}

/// Converts a decimal (big-endian two's complement, by the specification) to the nearest float.
pub(super) fn float(bytes: &[u8], scale: u32) -> f64 {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let magnitude = bytes.iter().fold(0.0, |value, byte| {
        value * 256.0 + f64::from(if negative { !*byte } else { *byte })
    });
    let value = if negative {
        -(magnitude + 1.0)
    } else {
        magnitude
    };
    value / 10_f64.powi(scale.min(300) as i32)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use apache_avro::types::Value;
    use proptest::prelude::*;

    use super::{float, units};
    use crate::dataset::{ColumnType, Dataset};
    use crate::decode::{BatchBuilder, DecodeError, DecodePlan};
    use crate::framing;
    use crate::pseudonym::Pseudonyms;
    use crate::records::RecordWriter;

    /// A schema of a kind with a decimal of so many digits, two of them after the point.
    fn schema(kind: &str, precision: u32) -> String {
        format!(
            r#"{{"type":"record","name":"R","theatre":{{"id":7,"dataset":"d","kind":"{kind}"}},
            "fields":[{{"name":"robot_id","type":"string"}},
            {{"name":"event_time","type":{{"type":"long","logicalType":"timestamp-micros"}}}},
            {{"name":"cost","type":["null",{{"type":"bytes","logicalType":"decimal",
            "precision":{precision},"scale":2}}],"default":null}}]}}"#
        )
    }

    fn decoded(json: &str, cost: Option<&[u8]>) -> Result<crate::batch::Batch, DecodeError> {
        let cost = cost.map_or(Value::Union(0, Box::new(Value::Null)), |bytes| {
            Value::Union(1, Box::new(Value::Decimal(bytes.to_vec().into())))
        });
        let record = Value::Record(vec![
            ("robot_id".into(), Value::String("r".into())),
            ("event_time".into(), Value::TimestampMicros(1)),
            ("cost".into(), cost),
        ]);
        let message = RecordWriter::new(7, json).unwrap().encode(record).unwrap();
        let (_, datum) = framing::parse(&message).unwrap();
        let dataset = Arc::new(Dataset::from_schema(json).unwrap());
        let plan = DecodePlan::compile(json, &dataset).unwrap();
        let mut builder = BatchBuilder::new(dataset, 0, Arc::new(Pseudonyms::new([7; 32])));
        builder.push(&plan, datum, 0, 0)?;
        Ok(builder.finish().unwrap())
    }

    #[test]
    fn money_is_exact_and_a_measurement_is_a_signal() {
        let (exact, measured) = (schema("maintenance_logs", 12), schema("telemetry", 12));
        let mut cost = vec![0; 4];
        cost.extend(123_456_789_012_i64.to_be_bytes());
        let batch = decoded(&exact, Some(&cost)).unwrap();
        let column = &batch.dataset.columns[2];
        let decimal = ColumnType::Decimal {
            precision: 12,
            scale: 2,
        };
        assert_eq!(column.column_type, decimal);
        assert!(batch.dataset.signals.is_empty());
        assert_eq!(batch.decimal(2, 0), Some(123_456_789_012));
        assert_eq!(decoded(&exact, None).unwrap().decimal(2, 0), None);
        let batch = decoded(&measured, Some(&cost)).unwrap();
        assert_eq!(batch.dataset.columns[2].column_type, ColumnType::Float64);
        assert_eq!(batch.signals.value(0, 0), 1_234_567_890.12);
        let wide = decoded(&schema("maintenance_logs", 19), Some(&cost)).unwrap();
        assert_eq!(wide.dataset.columns[2].column_type, ColumnType::Float64);
    }

    #[test]
    fn a_decimal_of_too_many_digits_is_refused() {
        let exact = schema("maintenance_logs", 4);
        assert!(decoded(&exact, Some(&9_999_i16.to_be_bytes())).is_ok());
        assert!(decoded(&exact, Some(&(-9_999_i16).to_be_bytes())).is_ok());
        for bytes in [
            &10_000_i16.to_be_bytes()[..],
            &[1; 9],
            &i64::MIN.to_be_bytes(),
        ] {
            let refused = decoded(&exact, Some(bytes));
            assert!(
                matches!(refused, Err(DecodeError::Malformed { .. })),
                "{bytes:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn units_are_read_from_as_many_bytes_as_there_are(value: i64, more in 0_usize..4) {
            let sign = if value < 0 { 0xff } else { 0 };
            let mut bytes = vec![sign; more];
            bytes.extend(value.to_be_bytes());
            prop_assert_eq!(units(&bytes), Some(value));
            prop_assert!((float(&bytes, 0) - value as f64).abs() <= 4e3);
            let mut short = value.to_be_bytes().to_vec();
            while short.len() > 1 && short[0] == sign && (short[1] & 0x80 == sign & 0x80) {
                short.remove(0);
            }
            prop_assert_eq!(units(&short), Some(value));
            let other = [sign ^ 1].into_iter().chain(value.to_be_bytes());
            prop_assert_eq!(units(&other.collect::<Vec<_>>()), None);
        }
    }
}
