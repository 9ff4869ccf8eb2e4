//! Any bytes as the body of a request that appends records. The first byte picks the form, the
//! second the dataset. Every record of a body is accepted or rejected; what is accepted is as long
//! as it may be, stands in a frame, and is decoded as the pipeline does; of what a caller has
//! framed only the key is looked at before.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let [form, dataset, body @ ..] = bytes {
        ingest::check(*form, *dataset, body);
    }
});

/// What the parser of bodies needs of its crate, without its HTTP server.
mod model {
    /// A record that does not fit.
    #[derive(Debug)]
    pub struct RejectedRecord {
        /// Its number in the body, from 0.
        pub index: u64,
        /// What is wrong with it.
        pub faults: Vec<theatre_schemas::encode::Fault>,
    }
}

/// Problems without their answers.
mod problem {
    /// Something, or what is wrong.
    pub type Answer<T> = Result<T, Problem>;

    /// Something wrong with a request.
    #[derive(Debug)]
    pub struct Problem(#[allow(dead_code)] String);

    impl Problem {
        /// A problem of a code.
        pub fn new(_code: &'static str, detail: impl Into<String>) -> Self {
            Self(detail.into())
        }

        /// A request that cannot be understood.
        pub fn bad(detail: impl Into<String>) -> Self {
            Self(detail.into())
        }

        /// Something that is not there.
        pub fn missing(what: &str, id: &str) -> Self {
            Self(format!("there is no {what} '{id}'"))
        }
    }
}

/// The parser, and what must hold of it.
#[path = "."]
mod ingest {
    #[path = "../../../runtime/api/src/ingest/container.rs"]
    mod container;
    #[path = "../../../runtime/api/src/ingest/json.rs"]
    mod json;
    #[path = "../../../runtime/api/src/ingest/objects.rs"]
    mod objects;
    #[allow(dead_code)]
    #[path = "../../../runtime/api/src/ingest/records.rs"]
    mod records;
    #[path = "../../../runtime/api/src/ingest/roles.rs"]
    mod roles;
    #[path = "../../../runtime/api/src/ingest/table.rs"]
    mod table;

    use std::sync::{Arc, LazyLock};

    use records::{Bounds, Encoders, Form, Parsed};
    use theatre_schemas::decode::BatchBuilder;
    use theatre_schemas::encode::Fault;
    use theatre_schemas::framing;
    use theatre_schemas::pseudonym::Pseudonyms;
    use theatre_schemas::registry::{INPUT_SCHEMAS, Registry};

    use crate::model::RejectedRecord;

    const LONGEST: usize = 1 << 12;

    static REGISTRY: LazyLock<Arc<Registry>> = LazyLock::new(|| Arc::new(Registry::builtin()));
    static ENCODERS: LazyLock<Encoders> = LazyLock::new(|| Encoders::new(REGISTRY.clone()));

    fn reject(parsed: &mut Parsed, index: u64, faults: Vec<Fault>) {
        parsed.rejected_total += 1;
        parsed.rejected.push(RejectedRecord { index, faults });
    }

    /// What must hold of a body in a form, for a dataset, each picked by a number.
    pub fn check(form: u8, dataset: u8, body: &[u8]) {
        let form = [Form::Json, Form::Lines, Form::Csv, Form::Avro][usize::from(form) % 4];
        let dataset = INPUT_SCHEMAS[usize::from(dataset) % INPUT_SCHEMAS.len()].0;
        let encoder = ENCODERS.of(dataset).expect("a shipped dataset");
        let bounds = Bounds {
            record_bytes: LONGEST,
            body_bytes: 1 << 20,
            rejected: None,
        };
        let Ok(parsed) = encoder.parse(form, body, bounds) else {
            return;
        };
        let records = parsed.records.len() as u64;
        let all = records + parsed.rejected_total;
        // Of a block of a container in which no next record can be found the rest is counted only.
        if !(matches!(form, Form::Avro) && container::is_one(body)) {
            assert_eq!(parsed.rejected.len() as u64, parsed.rejected_total);
        }
        let mut rejected = parsed.rejected.iter();
        assert!(rejected.all(|rejected| !rejected.faults.is_empty()));
        let mut places = parsed.rejected.iter().map(|rejected| rejected.index);
        assert!(places.clone().is_sorted() && places.all(|index| index < all));
        if let Form::Lines = form {
            let text = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
            let lines = text.split(|byte| *byte == b'\n');
            let filled = lines.filter(|line| !line.trim_ascii().is_empty()).count();
            assert_eq!(all, filled as u64);
        }
        for record in &parsed.records {
            assert!(record.value.len() <= LONGEST && !record.key.is_empty());
            decode(&record.key, &record.value, matches!(form, Form::Avro));
        }
    }

    /// What the pipeline makes of an accepted record.
    fn decode(key: &[u8], value: &[u8], is_framed_by_caller: bool) {
        let (id, datum) = framing::parse(value).expect("what is accepted is framed");
        let writer = REGISTRY.lookup(id).expect("by a known schema");
        let index = writer.dataset_index;
        let dataset = REGISTRY.datasets().get(index).clone();
        let named = dataset.roles.robot_id;
        let pseudonyms = Arc::new(Pseudonyms::new([7; 32]));
        let mut builder = BatchBuilder::new(dataset, index, pseudonyms);
        match builder.push(&writer.plan, datum, 0, 0) {
            Ok(()) => {
                let batch = builder.finish().expect("it has a row");
                let is_person = batch.dataset.columns[named].person.is_some();
                let name = batch.text(named, 0).expect("a key");
                assert!(is_person || name.as_bytes() == key);
            }
            Err(_) if is_framed_by_caller => {}
            Err(error) => panic!("an accepted record is not decoded: {error}"),
        }
    }
}
