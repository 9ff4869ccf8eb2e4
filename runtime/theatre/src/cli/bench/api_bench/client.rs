//! A client of HTTP/1.1 that keeps its connection, and what a lot of times have in common.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::measure::rounded;
use crate::cli::Failure;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Client {
    reader: BufReader<TcpStream>,
    address: String,
    token: Option<String>,
    body: Vec<u8>,
}

impl Client {
    pub(super) fn connect(address: &str, token: Option<&str>) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            reader: BufReader::new(stream),
            address: address.to_owned(),
            token: token.map(str::to_owned),
            body: Vec::new(),
        })
    }

    /// Status and body of an answer.
    pub(super) fn get(&mut self, path: &str) -> Result<(u16, &[u8]), Failure> {
        self.ask("GET", path, "", &[])
    }

    /// The same with records in the body.
    pub(super) fn post(&mut self, path: &str, records: &[u8]) -> Result<(u16, &[u8]), Failure> {
        self.ask(
            "POST",
            path,
            "content-type: application/x-ndjson\r\n",
            records,
        )
    }

    fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> Result<(u16, &[u8]), Failure> {
        let token = self.token.as_ref();
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n"));
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{}{headers}content-length: {}\r\n\r\n",
            self.address,
            token.unwrap_or_default(),
            body.len()
        );
        let stream = self.reader.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let malformed = || Failure::Failed(format!("{method} {path}: no answer of HTTP"));
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status: u16 = status.ok_or_else(malformed)?;
        let mut length = None;
        loop {
            line.clear();
            self.reader.read_line(&mut line)?;
            let header = line.trim_end();
            if header.is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse::<usize>().ok();
            }
        }
        self.body.resize(length.ok_or_else(malformed)?, 0);
        self.reader.read_exact(&mut self.body)?;
        Ok((status, &self.body))
    }
}

/// Median, 99th percentile and the longest of times, milliseconds.
pub(super) fn percentiles(mut times: Vec<Duration>) -> Map<String, Value> {
    times.sort_unstable();
    let at = |share: f64| {
        let place = ((times.len() as f64 * share).ceil() as usize).saturating_sub(1);
        let time = times.get(place);
        json!(time.map(|time| rounded(time.as_secs_f64() * 1000.0)))
    };
    [("p50_ms", 0.5), ("p99_ms", 0.99), ("max_ms", 1.0)]
        .into_iter()
        .map(|(name, share)| (name.to_owned(), at(share)))
        .collect()
}

/// What a thread of the benchmark has ended with.
pub(super) fn joined<T>(ended: std::thread::Result<Result<T, Failure>>) -> Result<T, Failure> {
    ended.map_err(|_| {
        Failure::Failed("a client of the benchmark panicked; this is a bug".to_owned())
    })?
}
