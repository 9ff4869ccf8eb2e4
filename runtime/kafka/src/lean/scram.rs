//! The client's side of SCRAM (RFC 5802), without channel binding.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};

/// Rounds that a broker may ask for: fewer protect the password badly, more would only keep this
/// client busy.
const ROUNDS: std::ops::RangeInclusive<u32> = 4096..=1_000_000;

/// The hash of a SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

type Text<T> = Result<T, String>;

impl Hash {
    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    fn mac(self, key: &[u8], bytes: &[u8]) -> Text<Vec<u8>> {
        match self {
            Self::Sha256 => keyed::<Hmac<Sha256>>(key).map(|mac| finish(mac, bytes)),
            Self::Sha512 => keyed::<Hmac<Sha512>>(key).map(|mac| finish(mac, bytes)),
        }
    }

    fn salted(self, password: &[u8], salt: &[u8], rounds: u32) -> Text<Vec<u8>> {
        match self {
            Self::Sha256 => keyed::<Hmac<Sha256>>(password).map(|mac| stretch(&mac, salt, rounds)),
            Self::Sha512 => keyed::<Hmac<Sha512>>(password).map(|mac| stretch(&mac, salt, rounds)),
        }
    }
}

fn keyed<M: Mac + hmac::digest::KeyInit>(key: &[u8]) -> Text<M> {
    <M as Mac>::new_from_slice(key).map_err(|error| error.to_string())
}

fn finish<M: Mac>(mut mac: M, bytes: &[u8]) -> Vec<u8> {
    mac.update(bytes);
    mac.finalize().into_bytes().to_vec()
}

/// PBKDF2 with one block.
fn stretch<M: Mac + Clone>(mac: &M, salt: &[u8], rounds: u32) -> Vec<u8> {
    let mut block = finish(mac.clone(), &[salt, &1_u32.to_be_bytes()].concat());
    let mut result = block.clone();
    for _ in 1..rounds {
        block = finish(mac.clone(), &block);
        for (result, byte) in result.iter_mut().zip(&block) {
            *result ^= byte;
        }
    }
    result
}

/// An exchange that has begun.
#[derive(Debug)]
pub(super) struct Exchange {
    hash: Hash,
    nonce: String,
    /// The first message without the part on channel binding.
    bare: String,
}

/// The proof that the broker owes.
#[derive(Debug)]
pub(super) struct Expected(Vec<u8>);

impl Exchange {
    /// Begins an exchange for a user.
    pub(super) fn begin(hash: Hash, username: &str) -> Self {
        Self::with_nonce(hash, username, &STANDARD.encode(rand::random::<[u8; 24]>()))
    }

    fn with_nonce(hash: Hash, username: &str, nonce: &str) -> Self {
        let username = username.replace('=', "=3D").replace(',', "=2C");
        Self {
            hash,
            nonce: nonce.to_owned(),
            bare: format!("n={username},r={nonce}"),
        }
    }

    /// The first message.
    pub(super) fn first_message(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// The last message, by the broker's first one.
    pub(super) fn prove(&self, password: &str, broker_first: &[u8]) -> Text<(String, Expected)> {
        let text = std::str::from_utf8(broker_first)
            .map_err(|_| "the broker's challenge is no text".to_owned())?;
        let field = |name: &str| {
            text.split(',')
                .find_map(|field| field.strip_prefix(name))
                .ok_or_else(|| format!("the broker's challenge has no {name}"))
        };
        let nonce = field("r=")?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the broker's challenge is not an answer to this client".to_owned());
        }
        let salt = STANDARD
            .decode(field("s=")?)
            .map_err(|error| format!("the broker's salt: {error}"))?;
        let rounds: u32 = field("i=")?
            .parse()
            .map_err(|_| "the broker's number of rounds is none".to_owned())?;
        if !ROUNDS.contains(&rounds) {
            return Err(format!("the broker asks for {rounds} rounds"));
        }
        let hash = self.hash;
        let salted = hash.salted(password.as_bytes(), &salt, rounds)?;
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{text},{without_proof}", self.bare);
        let client_key = hash.mac(&salted, b"Client Key")?;
        let signature = hash.mac(&hash.digest(&client_key), signed.as_bytes())?;
        let proof: Vec<u8> = client_key
            .iter()
            .zip(&signature)
            .map(|(key, signature)| key ^ signature)
            .collect();
        let server_key = hash.mac(&salted, b"Server Key")?;
        let expected = hash.mac(&server_key, signed.as_bytes())?;
        Ok((
            format!("{without_proof},p={}", STANDARD.encode(proof)),
            Expected(expected),
        ))
    }
}

impl Expected {
    /// Whether the broker knows the password.
    pub(super) fn check(&self, broker_last: &[u8]) -> Text<()> {
        let text = String::from_utf8_lossy(broker_last);
        let proof = text
            .split(',')
            .find_map(|field| field.strip_prefix("v="))
            .ok_or_else(|| format!("the broker gives no proof: {text}"))?;
        if STANDARD.decode(proof).is_ok_and(|proof| proof == self.0) {
            Ok(())
        } else {
            Err("the broker does not know the password".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677.
    #[test]
    fn the_exchange_of_the_standard() {
        let exchange = Exchange::with_nonce(Hash::Sha256, "user", "rOprNGfwEbeRWgbNEkqO");
        assert_eq!(exchange.first_message(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let challenge =
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let (proof, expected) = exchange.prove("pencil", challenge).unwrap();
        assert_eq!(
            proof,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        expected
            .check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
            .unwrap();
        let forged = expected.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=");
        assert!(forged.is_err());
    }

    #[test]
    fn a_challenge_of_another_exchange_or_with_odd_rounds_is_refused() {
        let exchange = Exchange::with_nonce(Hash::Sha512, "a=b,c", "mine");
        assert_eq!(exchange.first_message(), "n,,n=a=3Db=2Cc,r=mine");
        for challenge in [
            "r=other,s=AAAA,i=4096",
            "r=mine,s=AAAA,i=4096",
            "r=mine+,s=AAAA,i=1",
            "r=mine+,s=AAAA,i=4000000000",
            "r=mine+,s=?,i=4096",
            "s=AAAA,i=4096",
        ] {
            assert!(
                exchange.prove("pencil", challenge.as_bytes()).is_err(),
                "{challenge}"
            );
        }
        assert!(exchange.prove("pencil", b"r=mine+,s=AAAA,i=4096").is_ok());
    }
}
