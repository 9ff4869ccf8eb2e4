//! Files of gzip: one member after another, and the zeros that tapes and disks leave behind.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

/// Unpacks all members.
pub(super) struct Members<R> {
    /// None: the end was reached, or something failed.
    member: Option<GzDecoder<BufReader<R>>>,
}

impl<R: Read> Members<R> {
    pub(super) fn new(packed: R) -> Self {
        Self {
            member: Some(GzDecoder::new(BufReader::new(packed))),
        }
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(into)?;
            if count > 0 || into.is_empty() {
                return Ok(count);
            }
            let Some(member) = self.member.take() else {
                break;
            };
            let mut packed = member.into_inner();
            if !skip_zeros(&mut packed)? {
                self.member = Some(GzDecoder::new(packed));
            }
        }
        Ok(0)
    }
}

/// Passes zeros; true when nothing comes after them.
fn skip_zeros(packed: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let buffer = match packed.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            buffer => buffer?,
        };
        let (zeros, length) = (
            buffer.iter().take_while(|byte| **byte == 0).count(),
            buffer.len(),
        );
        packed.consume(zeros);
        if zeros < length || length == 0 {
            return Ok(length == 0);
        }
    }
}
