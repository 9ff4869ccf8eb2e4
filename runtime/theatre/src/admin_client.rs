//! Asks the admin server of a process that runs: for health, for check-ups and for `theatre top`.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long one step of the question may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer that is read; metrics of a large process are a few MiB.
const ANSWER_BYTES: u64 = 64 << 20;

/// What an admin server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status of HTTP.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskError {
    /// The address cannot be asked.
    Unusable(String),
    /// No process answers there.
    Silent(String),
}

/// Asks for a path at an address such as `127.0.0.1:9464` or `http://127.0.0.1:9464`.
///
/// # Errors
/// Says what of the address cannot be used, or that no process answers.
pub fn ask(listens: &str, path: &str) -> Result<Answer, AskError> {
    exchange(listens, "GET", path, "")
}

/// Puts a text there.
///
/// # Errors
/// As [`ask`].
pub fn tell(listens: &str, path: &str, text: &str) -> Result<Answer, AskError> {
    exchange(listens, "PUT", path, text)
}

fn exchange(listens: &str, method: &str, path: &str, sent: &str) -> Result<Answer, AskError> {
    let address = reachable(listens)?;
    let silent = |why: &dyn std::fmt::Display| AskError::Silent(format!("{listens}{path}: {why}"));
    let text = send(address, method, path, sent).map_err(|error| silent(&error))?;
    let (status, body) = parse(&text).ok_or_else(|| silent(&"the answer is not HTTP"))?;
    Ok(Answer {
        status,
        body: body.to_owned(),
    })
}

/// Where a process that listens at an address can be reached from the same machine.
fn reachable(listens: &str) -> Result<SocketAddr, AskError> {
    let unusable = |why: &dyn std::fmt::Display| {
        AskError::Unusable(format!(
            "the admin address {listens} cannot be asked: {why}"
        ))
    };
    let plain = listens.strip_prefix("http://").unwrap_or(listens);
    let mut address = plain
        .trim_end_matches('/')
        .to_socket_addrs()
        .map_err(|error| unusable(&error))?
        .next()
        .ok_or_else(|| unusable(&"it names no host"))?;
    if address.port() == 0 {
        return Err(unusable(
            &"port 0 is any free one; name the one that was taken with --admin",
        ));
    }
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(address)
}

fn send(address: SocketAddr, method: &str, path: &str, sent: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // With HTTP/1.0 the server closes the connection after its answer, which then has an end.
    let length = sent.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{sent}"
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Status and body of an answer.
fn parse(answer: &str) -> Option<(u16, &str)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut words = head.lines().next()?.split(' ');
    words.next().filter(|word| word.starts_with("HTTP/"))?;
    Some((words.next()?.parse().ok()?, body))
}

#[cfg(test)]
mod tests {
    use super::{parse, reachable};

    #[test]
    fn a_process_that_listens_everywhere_is_asked_on_the_loopback_address() {
        let address = |listens| reachable(listens).map(|address| address.to_string()).ok();
        assert_eq!(address("0.0.0.0:9464").as_deref(), Some("127.0.0.1:9464"));
        assert_eq!(address("[::]:9464").as_deref(), Some("[::1]:9464"));
        assert_eq!(address("127.0.0.1:1").as_deref(), Some("127.0.0.1:1"));
        assert_eq!(
            address("http://127.0.0.1:1/").as_deref(),
            Some("127.0.0.1:1")
        );
        for unusable in ["127.0.0.1:0", "9464", ""] {
            assert!(address(unusable).is_none(), "{unusable}");
        }
    }

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let answer = "HTTP/1.0 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno";
        assert_eq!(parse(answer), Some((503, "no")));
        for other in ["", "SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
