//! Bodies of requests: read whole, unpacked, and never longer than allowed.

use std::fmt;
use std::io::Read;
use std::marker::PhantomData;
use std::ops::Deref;

use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{BytesMut, Payload};
use futures_util::StreamExt;
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

/// Reads a body as it comes, `max` bytes at most.
pub(crate) async fn read(mut payload: Payload, max: usize) -> Answer<Vec<u8>> {
    let mut body = BytesMut::new();
    while let Some(piece) = payload.next().await {
        let piece =
            piece.map_err(|error| Problem::bad(format!("the body ended early: {error}")))?;
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
        Encoding::Zstd => zstd::stream::read::Decoder::new(body.as_slice())
            .and_then(|decoder| decoder.take(limit).read_to_end(&mut plain)),
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
