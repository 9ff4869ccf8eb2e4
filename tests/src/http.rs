//! A plain client of the HTTP interface: what is sent is what a test says, byte by byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Header lines, in lower case.
    pub headers: String,
    /// Body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends a request of HTTP/1.0, which is answered in one piece.
///
/// # Errors
/// When nothing answers.
pub fn request(
    address: &str,
    method: &str,
    path: &str,
    token: Option<&str>,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer> {
    let mut head = format!("{method} {path} HTTP/1.0\r\nhost: {address}\r\n");
    if let Some(token) = token {
        head += &format!("authorization: Bearer {token}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    let mut stream = connect(address)?;
    stream.write_all(head.as_bytes())?;
    // A server that refuses a body by its head may close before all of it is sent.
    let sent = stream.write_all(body);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        sent?;
        return Err(error.into());
    }
    read(&answer)
}

fn read(answer: &[u8]) -> Result<Answer> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").context("no whole answer")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Ok(Answer {
        status: status.context("no status")?,
        headers: head.to_ascii_lowercase(),
        body: body.to_owned(),
    })
}

/// Sends JSON as HTTP/1.1, to a server that speaks nothing older and hangs up when it likes: what
/// it says is read to the length that it gives.
///
/// # Errors
/// When nothing answers in this time.
pub fn request_of_length(
    patience: Duration,
    address: &str,
    method: &str,
    path: &str,
    body: &[u8],
) -> Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
        content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut reader = BufReader::new(stream);
    let mut answer = Vec::new();
    let mut length = 0;
    while !answer.ends_with(b"\r\n\r\n") {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "no whole head");
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
        answer.extend_from_slice(line.as_bytes());
    }
    let mut said = vec![0; length];
    reader.read_exact(&mut said)?;
    answer.extend_from_slice(&said);
    read(&answer)
}

/// Sends raw bytes and returns the answer.
///
/// # Errors
/// When nothing answers.
pub fn raw(address: &str, bytes: &[u8]) -> Result<Answer> {
    let mut stream = connect(address)?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    read(&answer)
}

/// Asks for events and reads nothing of the answer.
///
/// # Errors
/// When nothing answers.
pub fn ask_for_events(
    query: &str,
    address: &str,
    token: Option<&str>,
    after: Option<&str>,
) -> Result<TcpStream> {
    let mut stream = connect(address)?;
    let mut head = format!("GET /api/v1/events{query} HTTP/1.0\r\n");
    if let Some(token) = token {
        head += &format!("authorization: Bearer {token}\r\n");
    }
    if let Some(after) = after {
        head += &format!("last-event-id: {after}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    Ok(stream)
}

/// Events that a server sends.
pub struct Events {
    lines: std::io::Lines<BufReader<TcpStream>>,
    /// Id of the last one.
    pub last: String,
}

impl Events {
    /// Listens to alerts and outcomes, after the event of this id if there is one.
    ///
    /// # Errors
    /// When nothing answers.
    pub fn listen(address: &str, token: Option<&str>, after: Option<&str>) -> Result<Self> {
        Self::listen_to("?kinds=alert,outcome", address, token, after)
    }

    /// Listens to what a query says.
    ///
    /// # Errors
    /// When nothing answers.
    pub fn listen_to(
        query: &str,
        address: &str,
        token: Option<&str>,
        after: Option<&str>,
    ) -> Result<Self> {
        Ok(Self {
            lines: BufReader::new(ask_for_events(query, address, token, after)?).lines(),
            last: after.unwrap_or_default().to_owned(),
        })
    }

    /// The next event: its kind and what it says.
    ///
    /// # Errors
    /// When the connection ends, or nothing comes for twenty seconds.
    pub fn next_event(&mut self) -> Result<(String, Value)> {
        let mut kind = String::new();
        loop {
            let line = self.lines.next().context("the events ended")??;
            if let Some(id) = line.strip_prefix("id: ") {
                self.last = id.to_owned();
            } else if let Some(event) = line.strip_prefix("event: ") {
                kind = event.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Ok((kind, serde_json::from_str(data)?));
            }
        }
    }
}
