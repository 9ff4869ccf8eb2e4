//! When certificates expire: the one field of them that is of interest to who operates.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use theatre_actors::time::LogTime;

/// Tags of ASN.1, as DER writes them.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// When the first of the certificates in a text in PEM expires; `None` where there is none that can
/// be read.
#[must_use]
pub fn certificates_expire(pem: &[u8]) -> Option<LogTime> {
    let certificates = CertificateDer::pem_slice_iter(pem).flatten();
    first_expiry(certificates.collect::<Vec<_>>().iter())
}

/// The same of certificates in DER.
pub(super) fn first_expiry<'a>(
    certificates: impl Iterator<Item = &'a CertificateDer<'a>>,
) -> Option<LogTime> {
    certificates.filter_map(|der| expiry(der)).min()
}

/// The end of the validity of a certificate (RFC 5280, 4.1).
fn expiry(der: &[u8]) -> Option<LogTime> {
    let (certificate, _) = value(der, SEQUENCE)?;
    let (signed, _) = value(certificate, SEQUENCE)?;
    // The version may be absent; number, algorithm and issuer are not.
    let mut rest = value(signed, VERSION).map_or(signed, |(_, rest)| rest);
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (validity, _) = value(rest, SEQUENCE)?;
    let (_, _, rest) = element(validity)?;
    let (tag, end, _) = element(rest)?;
    moment(tag, std::str::from_utf8(end).ok()?)
}

/// The content of the first element, which has this tag, and what follows it.
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(der)?;
    (found == tag).then_some((content, rest))
}

/// The first element: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    // A length below 128 stands in one byte; else that says how many bytes it takes.
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes
                .iter()
                .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
            (usize::try_from(length).ok()?, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// A time as certificates have it: always UTC, with seconds, and with two digits of the year until
/// 2049.
fn moment(tag: u8, text: &str) -> Option<LogTime> {
    let digits = text.strip_suffix('Z')?;
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let (year, rest) = digits.split_at(2);
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        (GENERALIZED_TIME, 14) => {
            let (year, rest) = digits.split_at(4);
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
    let (month, day) = (part(0)?, part(2)?);
    let (hour, minute, second) = (part(4)?, part(6)?, part(8)?);
    let time = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    let time = time.to_zoned(TimeZone::UTC).ok()?;
    Some(LogTime(time.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::{GENERALIZED_TIME, UTC_TIME, certificates_expire, element, moment};

    fn pem(year: i32) -> String {
        let mut params = CertificateParams::new(vec!["theatre.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = date_time_ymd(year, 3, 4);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    fn expires(pem: &str) -> Option<i64> {
        certificates_expire(pem.as_bytes()).map(|at| at.0 / 1_000_000)
    }

    #[test]
    fn the_first_of_a_chain_to_expire_counts() {
        // 2031-03-04 and 2055-03-04, which is past the years of two digits.
        let (near, far) = (1_930_348_800, 2_687_731_200);
        assert_eq!(expires(&pem(2031)), Some(near));
        assert_eq!(expires(&pem(2055)), Some(far));
        assert_eq!(expires(&(pem(2055) + &pem(2031) + &pem(2055))), Some(near));
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        assert_eq!(expires(""), None);
        assert_eq!(expires(&KeyPair::generate().unwrap().serialize_pem()), None);
        let half = "-----BEGIN CERTIFICATE-----\nMAMwATA=\n-----END CERTIFICATE-----\n";
        assert_eq!(expires(half), None);
        for (tag, text) in [
            (UTC_TIME, "310304000000"),
            (UTC_TIME, "20310304000000Z"),
            (UTC_TIME, "311304000000Z"),
            (UTC_TIME, "31030400000+Z"),
            (GENERALIZED_TIME, "310304000000Z"),
            (super::SEQUENCE, "310304000000Z"),
        ] {
            assert_eq!(moment(tag, text), None, "{tag} {text}");
        }
        for der in [
            &[0x30][..],
            &[0x30, 0x81],
            &[0x30, 0x85, 0, 0],
            &[0x30, 2, 1],
        ] {
            assert_eq!(element(der), None, "{der:?}");
        }
    }
}
