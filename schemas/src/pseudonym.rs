//! Keyed pseudonyms for fields that identify a person, and a seal (encryption) for payloads that
//! could not be decoded, so that no field of them could be replaced.
//!
//! HMAC-SHA-256 with one key per deployment, domain-separated, so that a patient's and a surgeon's
//! pseudonym of the same text differ. The seal's nonce is derived from the content: the same bytes
//! give the same sealed bytes, so that a replay gives the same result. This reveals only that two
//! sealed payloads are equal, which the hashes stored beside them reveal anyway.

use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;

const NONCE_BYTES: usize = 12;

/// The deployment's pseudonym key, ready for use.
#[derive(Clone)]
pub struct Pseudonyms {
    mac: Hmac<Sha256>,
    cipher: ChaCha20Poly1305,
}

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pseudonyms(key hidden)")
    }
}

impl Pseudonyms {
    /// Derives the subkeys for pseudonyms and for the seal from 32 secret bytes.
    pub fn new(key: [u8; 32]) -> Self {
        let root =
            <Hmac<Sha256> as Mac>::new_from_slice(&key).expect("HMAC takes keys of any length");
        let subkey = |purpose: &str| {
            let mut mac = root.clone();
            mac.update(purpose.as_bytes());
            mac.finalize().into_bytes()
        };
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(&subkey("theatre/pseudonym/v1"))
            .expect("HMAC takes keys of any length");
        Self {
            mac,
            cipher: ChaCha20Poly1305::new(&subkey("theatre/seal/v1")),
        }
    }

    /// The pseudonym of a value within a domain: `<domain>-` and 24 hex digits.
    pub fn pseudonym(&self, domain: &str, value: &str) -> String {
        let mut mac = self.mac.clone();
        mac.update(&(domain.len() as u64).to_be_bytes());
        mac.update(domain.as_bytes());
        mac.update(value.as_bytes());
        let digest = mac.finalize().into_bytes();
        let mut text = format!("{domain}-");
        for byte in &digest[..12] {
            text.push_str(&format!("{byte:02x}"));
        }
        text
    }

    /// Encrypts and authenticates bytes; the result begins with the nonce.
    pub fn seal(&self, bytes: &[u8]) -> Vec<u8> {
        let mut mac = self.mac.clone();
        mac.update(b"seal-nonce");
        mac.update(bytes);
        let digest = mac.finalize().into_bytes();
        let nonce = &digest[..NONCE_BYTES];
        let sealed = self
            .cipher
            .encrypt(Nonce::from_slice(nonce), bytes)
            .expect("payloads are far below the cipher's limit");
        [nonce, &sealed].concat()
    }

    /// Decrypts sealed bytes; `None` when they were sealed with another key or were changed.
    pub fn unseal(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, body) = sealed.split_at_checked(NONCE_BYTES)?;
        self.cipher.decrypt(Nonce::from_slice(nonce), body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Pseudonyms;

    #[test]
    fn a_pseudonym_depends_on_key_domain_and_value_only() {
        let one = Pseudonyms::new([1; 32]);
        assert_eq!(
            one.pseudonym("patient", "PAT-1"),
            one.pseudonym("patient", "PAT-1")
        );
        assert_ne!(
            one.pseudonym("patient", "PAT-1"),
            one.pseudonym("patient", "PAT-2")
        );
        assert_ne!(
            one.pseudonym("patient", "X")[8..],
            one.pseudonym("staffxx", "X")[8..]
        );
        assert_ne!(
            one.pseudonym("patient", "PAT-1"),
            Pseudonyms::new([2; 32]).pseudonym("patient", "PAT-1")
        );
    }

    #[test]
    fn a_seal_opens_with_its_key_only_and_notices_a_change() {
        let one = Pseudonyms::new([1; 32]);
        let mut sealed = one.seal(b"name of a patient");
        assert!(!sealed.windows(7).any(|window| window == b"patient"));
        assert_eq!(
            one.unseal(&sealed).as_deref(),
            Some(&b"name of a patient"[..])
        );
        assert_eq!(Pseudonyms::new([2; 32]).unseal(&sealed), None);
        sealed[20] ^= 1;
        assert_eq!(one.unseal(&sealed), None);
        assert_eq!(one.unseal(&[1, 2]), None);
    }
}
