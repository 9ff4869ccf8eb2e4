//! Bodies of requests: read whole, unpacked, and never longer, nor sent more slowly, than allowed.

use std::fmt;
use std::io::{ErrorKind, Read};
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

use actix_web::dev;
use actix_web::error::PayloadError;
use actix_web::http::header::{self, HeaderMap};
use actix_web::rt::time::{Instant, timeout};
use actix_web::web::{BytesMut, Payload};
use futures_util::{StreamExt, stream};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::problem::{Answer, Problem};

/// What is read of a JSON object only: an array with the values of a structure's fields, which is
/// taken for one otherwise, is no form that the document of the interface knows.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<T> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = T;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(entries))
            }
        }

        deserializer
            .deserialize_map(Entries(PhantomData))
            .map(Object)
    }
}

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Plain,
    Gzip,
    Zstd,
}

impl Encoding {
    /// As the headers say.
    pub(crate) fn of(headers: &HeaderMap) -> Answer<Self> {
        let name = match headers.get(header::CONTENT_ENCODING) {
            None => return Ok(Self::Plain),
            Some(value) => value.to_str().unwrap_or_default().to_ascii_lowercase(),
        };
        match name.as_str() {
            "" | "identity" => Ok(Self::Plain),
            "gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            other => Err(Problem::new(
                "unsupported",
                format!("Content-Encoding '{other}': gzip and zstd are known"),
            )),
        }
    }
}

fn too_long(max: usize) -> Problem {
    Problem::new(
        "too_large",
        format!("the body is longer than {max} bytes: send it in parts"),
    )
}

/// How slowly a body may come.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Longest wait for the next piece of it.
    pub piece: Duration,
    /// How long it may take whatever its length.
    pub whole: Duration,
    /// For each so many bytes of it that have come, it may take a second more.
    pub bytes_per_second: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            piece: Duration::from_secs(10),
            whole: Duration::from_secs(30),
            bytes_per_second: 64 << 10,
        }
    }
}

impl Pace {
    /// How long the next piece may take, when so many bytes have come within a time.
    pub(crate) fn next_within(&self, bytes: u64, taken: Duration) -> Duration {
        let more = Duration::from_secs(bytes / self.bytes_per_second.max(1));
        let left = self.whole.saturating_add(more).saturating_sub(taken);
        self.piece.min(left)
    }
}

/// The same body, which ends with [`ErrorKind::TimedOut`] once it comes more slowly than it may.
pub(crate) fn paced(body: dev::Payload, pace: Pace) -> dev::Payload {
    let begun = Instant::now();
    let pieces = stream::unfold(Some((body, 0_u64)), move |left| async move {
        let (mut body, read) = left?;
        let within = pace.next_within(read, begun.elapsed());
        match timeout(within, body.next()).await {
            Ok(Some(Ok(piece))) => {
                let read = read + piece.len() as u64;
                Some((Ok(piece), Some((body, read))))
            }
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Ok(None) => None,
            Err(_) => Some((Err(PayloadError::Io(ErrorKind::TimedOut.into())), None)),
        }
    });
    dev::Payload::Stream {
        payload: pieces.boxed_local(),
    }
}

/// What is wrong with a body that ended before its time.
pub(crate) fn broken(error: &PayloadError) -> Problem {
    match error {
        PayloadError::Io(error) if error.kind() == ErrorKind::TimedOut => Problem::new(
            "too_slow",
            "the body comes too slowly: send it in smaller parts, or packed (gzip, zstd)",
        ),
        error => Problem::bad(format!("the body ended early: {error}")),
    }
}

/// A body that asks for a longer window than two to the power of this is refused: the window is in
/// memory. RFC 9659 asks for half of it.
const WINDOW_LOG: u32 = 24;

/// Reads a body as it comes, `max` bytes at most.
pub(crate) async fn read(mut payload: Payload, max: usize) -> Answer<Vec<u8>> {
    let mut body = BytesMut::new();
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|error| broken(&error))?;
        if body.len() + piece.len() > max {
            return Err(too_long(max));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.into())
}

/// Unpacks a body; what would be longer than `max` bytes is refused before it is in memory.
pub(crate) fn unpack(body: Vec<u8>, encoding: Encoding, max: usize) -> Answer<Vec<u8>> {
    let limit = max as u64 + 1;
    let mut plain = Vec::new();
    let read = match encoding {
        Encoding::Plain => return Ok(body),
        Encoding::Gzip => flate2::read::MultiGzDecoder::new(body.as_slice())
            .take(limit)
            .read_to_end(&mut plain),
        Encoding::Zstd => {
            zstd::stream::read::Decoder::new(body.as_slice()).and_then(|mut decoder| {
                decoder.window_log_max(WINDOW_LOG)?;
                decoder.take(limit).read_to_end(&mut plain)
            })
        }
    };
    read.map_err(|error| Problem::bad(format!("the body cannot be unpacked: {error}")))?;
    if plain.len() > max {
        return Err(too_long(max));
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{Encoding, Object, unpack};

    #[test]
    fn a_structure_is_read_of_an_object_and_of_nothing_else() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Said {
            comment: Option<String>,
        }
        let read = |text: &str| serde_json::from_str::<Object<Said>>(text);
        assert_eq!(
            read(r#"{"comment": "mine"}"#).unwrap().comment.as_deref(),
            Some("mine")
        );
        assert!(read("{}").unwrap().comment.is_none());
        for wrong in [
            r#"["mine"]"#,
            "[]",
            "null",
            "7",
            r#"{"comment": 7}"#,
            r#"{"comments": "mine"}"#,
            r#"{"comment": "mine", "comment": "yours"}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_unpacks_to_more_than_is_allowed_is_refused() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&vec![b'0'; 1 << 24]).unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::bulk::compress(&vec![b'0'; 1 << 24], 3).unwrap();
        let mut wide = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        wide.long_distance_matching(true).unwrap();
        wide.window_log(27).unwrap();
        wide.write_all(b"0").unwrap();
        let wide = wide.finish().unwrap();
        assert_eq!(unpack(wide, Encoding::Zstd, 100).unwrap_err().status, 400);
        for (body, encoding) in [(gzip, Encoding::Gzip), (zstd, Encoding::Zstd)] {
            assert!(body.len() < 1 << 16);
            let refused = unpack(body.clone(), encoding, 1 << 20).unwrap_err();
            assert_eq!(refused.status, 413);
            assert_eq!(unpack(body, encoding, 1 << 24).unwrap().len(), 1 << 24);
            assert_eq!(
                unpack(b"rubbish".to_vec(), encoding, 100)
                    .unwrap_err()
                    .status,
                400
            );
        }
    }
}
