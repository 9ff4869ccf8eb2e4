//! All rows of a file, or as many as are looked at, as profiles of its columns.

use super::Looking;
use super::column::Profile;
use crate::cells::CellRules;
use crate::mapping::Mapping;
use crate::open::{self, Form};
use crate::records::ReadError;
use crate::source::Input;

/// Most rows that are looked at.
const ROWS_MAX: u64 = 500_000;

/// Most lines at the end that are taken for a footer.
const FOOTER_MAX: u64 = 10;

/// The rows of a file, as profiles of its columns.
pub(super) struct Seen {
    pub(super) names: Vec<String>,
    pub(super) profiles: Vec<Profile>,
    pub(super) rows: u64,
    /// Lines that are no rows.
    pub(super) refused: u64,
    pub(super) is_whole: bool,
}

impl Seen {
    pub(super) fn read(
        file: &str,
        mapping: &mut Mapping,
        form: Form,
        looking: &mut Looking,
    ) -> Result<Self, ReadError> {
        let mut records = open::records(Input::open(file)?, mapping)?;
        let rules = CellRules::new(mapping);
        let mut profiles = vec![Profile::default(); records.columns().len()];
        let (mut rows, mut refused, mut refused_last, mut is_whole) = (0, 0u64, 0u64, false);
        let mut example = None;
        while rows < ROWS_MAX {
            let next = match records.next_record() {
                // What came before is replayed, and that the file breaks off is said in the end.
                Err(error) if rows > 0 => {
                    looking
                        .findings
                        .push(format!("the file cannot be read to its end: {error}"));
                    break;
                }
                next => next?,
            };
            match next {
                None => {
                    is_whole = true;
                    break;
                }
                Some(Ok(record)) => {
                    rows += 1;
                    refused_last = 0;
                    for (profile, cell) in profiles.iter_mut().zip(&record.cells) {
                        profile.take(cell, &rules);
                    }
                }
                Some(Err(refusal)) => {
                    refused += 1;
                    refused_last += 1;
                    example.get_or_insert(refusal);
                }
            }
        }
        let is_footer = form == Form::Text
            && is_whole
            && rows > refused_last
            && (1..=FOOTER_MAX).contains(&refused_last)
            && refused == refused_last;
        if is_footer {
            mapping.footer_lines = usize::try_from(refused_last).unwrap_or(0);
            looking.findings.push(match refused_last {
                1 => "the last line is no row: taken for a footer".to_owned(),
                count => format!("the last {count} lines are no rows: taken for a footer"),
            });
        } else if let Some(example) = example {
            looking.findings.push(format!(
                "{refused} of {} lines are refused, the first: {example}",
                rows + refused
            ));
        }
        let of = if is_whole { "all" } else { "the first" };
        looking
            .findings
            .push(format!("rows: {of} {rows} were looked at"));
        looking.findings.extend(records.remarks());
        Ok(Self {
            names: records.columns().to_vec(),
            profiles,
            rows,
            refused,
            is_whole,
        })
    }
}
