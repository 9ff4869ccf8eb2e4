//! Where the bytes of a recording come from: paths, globs, folders, standard input; unpacked.

mod gzip;
mod kind;
mod lines;
mod paths;
#[cfg(test)]
mod tests;
mod text;

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

pub use kind::Kind;
pub(crate) use lines::BYTE_ORDER_MARK;
pub use lines::{LINE_BYTES_MAX, Line, LineFault, Lines};
pub use paths::find;
pub use text::{Text, by_name as encoding};

use sha2::{Digest, Sha256};

use crate::records::{Place, ReadError};

/// Bytes by which the kind of a file is seen.
const HEAD_BYTES: usize = 64;
/// Those by which a kind of file, or of text, is known.
const MAGIC_BYTES: usize = 8;

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// gzip, also of several members.
    Gzip,
    /// Zstandard, also of several frames.
    Zstd,
}

impl Packing {
    fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            // A frame to be skipped may come first: programs that pack in parallel write one.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// An open file or pipe, unpacked. Reading it gives what has come so far and never waits for more
/// than one byte, so that a pipe is read as it is written.
pub struct Input {
    name: Arc<str>,
    packing: Option<Packing>,
    bytes: Ahead,
}

impl Input {
    /// Opens a path, or standard input for `-`.
    ///
    /// # Errors
    /// When it cannot be opened or unpacked.
    pub fn open(name: &str) -> Result<Self, ReadError> {
        if name == "-" {
            return Self::of(name, Box::new(io::stdin()));
        }
        let file =
            File::open(name).map_err(|error| fault(name, &format!("cannot be opened: {error}")))?;
        Self::of(name, Box::new(file))
    }

    /// Reads from anything, under a name.
    ///
    /// # Errors
    /// When it cannot be read or unpacked.
    pub fn of(name: &str, reader: Box<dyn Read + Send>) -> Result<Self, ReadError> {
        let failed = |error: io::Error| fault(name, &format!("cannot be read: {error}"));
        let packed = Ahead::new(reader).map_err(failed)?;
        let packing = Packing::of(packed.head());
        let bytes = match packing {
            None => packed,
            Some(packing) => {
                let reader: Box<dyn Read + Send> = match packing {
                    Packing::Gzip => Box::new(gzip::Members::new(packed)),
                    Packing::Zstd => {
                        Box::new(zstd::stream::read::Decoder::new(packed).map_err(failed)?)
                    }
                };
                Ahead::new(Box::new(Unpacked { packing, reader })).map_err(failed)?
            }
        };
        if packing.is_some()
            && let Some(inner) = Packing::of(bytes.head())
        {
            let why = format!(
                "is packed twice: what is in it is packed by {}, so unpack it once",
                inner.name()
            );
            return Err(fault(name, &why));
        }
        Ok(Self {
            name: name.into(),
            packing,
            bytes,
        })
    }

    /// Its name as the user gave it.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How it was packed.
    pub fn packing(&self) -> Option<Packing> {
        self.packing
    }

    /// Its first bytes, at most 64, unpacked: as many as have come, and a magic number and two
    /// [`signs`] at least where there are so many. What is decided by them goes by those alone, so
    /// that it is the same however the bytes come. They come again when it is read.
    pub fn head(&self) -> &[u8] {
        self.bytes.head()
    }

    /// What its first bytes say it is.
    pub fn kind(&self) -> Kind {
        Kind::of(self.head())
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(into)
    }
}

/// Bytes by which it is seen that a file is another one, renamed or packed.
const MARK_BYTES: u64 = 64 << 10;

/// A mark of what a file begins with, unpacked, by which it is known under another name.
///
/// # Errors
/// When it cannot be opened or read.
pub fn mark(name: &str) -> Result<String, ReadError> {
    let mut begins = Vec::new();
    let read = Input::open(name)?.take(MARK_BYTES).read_to_end(&mut begins);
    match read {
        // Of a file that breaks off, what came before is its beginning.
        Err(error) if begins.is_empty() => {
            return Err(fault(name, &format!("cannot be read: {error}")));
        }
        _ => {}
    }
    let digest = Sha256::digest(&begins);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn fault(name: &str, why: &str) -> ReadError {
    ReadError {
        place: Place {
            file: name.into(),
            line: 0,
        },
        why: why.to_owned(),
    }
}

/// The bytes of a text's beginning that are signs: no blanks, no marks of byte order, and not the
/// other half of signs in UTF-16.
pub(crate) fn signs(head: &[u8]) -> impl Iterator<Item = u8> {
    let is_sign = |byte: &u8| {
        !byte.is_ascii_whitespace() && !matches!(byte, 0 | 0xef | 0xbb | 0xbf | 0xff | 0xfe)
    };
    head.iter().copied().filter(is_sign)
}

/// A reader whose first bytes were read ahead.
struct Ahead {
    head: Vec<u8>,
    given: usize,
    reader: Box<dyn Read + Send>,
    /// An error that came while the head was read: it follows the head.
    failed: Option<io::Error>,
}

impl Ahead {
    fn new(mut reader: Box<dyn Read + Send>) -> io::Result<Self> {
        let mut head = vec![0; HEAD_BYTES];
        let mut filled = 0;
        let mut failed = None;
        // The shortest line that may be all there is for now has fewer bytes than a magic number.
        while filled < HEAD_BYTES
            && (filled < MAGIC_BYTES || signs(&head[..filled]).nth(1).is_none())
        {
            match reader.read(&mut head[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if filled == 0 => return Err(error),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        head.truncate(filled);
        Ok(Self {
            head,
            given: 0,
            reader,
            failed,
        })
    }

    fn head(&self) -> &[u8] {
        &self.head
    }
}

impl Read for Ahead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let rest = &self.head[self.given..];
        if !rest.is_empty() {
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            self.given += count;
            return Ok(count);
        }
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.reader.read(into),
        }
    }
}

/// Unpacks, and says in words what is wrong with packed data.
struct Unpacked {
    packing: Packing,
    reader: Box<dyn Read + Send>,
}

impl Read for Unpacked {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let name = self.packing.name();
        self.reader.read(into).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            io::ErrorKind::UnexpectedEof => io::Error::other(format!(
                "it ends in the middle of its {name} data: the file was cut off, so copy it again"
            )),
            _ if error.to_string().contains("Dictionary") => io::Error::other(
                "it was packed with a dictionary of its own, which is not in it: unpack it first (zstd -d -D DICTIONARY)",
            ),
            _ => io::Error::other(format!(
                "its {name} data are damaged ({error}): what comes after this place is lost"
            )),
        })
    }
}
