//! Requests for an action or a change of rules that carry a key: repeated as often as one likes, they
//! act once.
//!
//! What is going to be appended is kept with the reservation, its own id included. The repetition of a
//! request that was never answered appends just that once more: who reads it knows it by its id. So it
//! does not matter what became of its conditions meanwhile.

use actix_web::HttpRequest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use theatre_actors::ports::{Begun, Reservation};
use theatre_actors::time::LogTime;

use crate::Parts;
use crate::access::Caller;
use crate::ingest::{self, encoded, given_up_on_error, other_request, take_over, unreadable};
use crate::problem::Answer;

/// The key of a request, and what it asks for.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    key: String,
    fingerprint: String,
}

impl Key {
    /// The key of a request of a caller, if it has one; `asked` is what its body asks for.
    pub(crate) fn of(http: &HttpRequest, caller: &Caller, asked: &str) -> Answer<Option<Self>> {
        let key = ingest::key(http.headers(), caller)?;
        let to = format!("{} {}", http.method(), http.uri());
        Ok(key.map(|key| Self {
            key,
            fingerprint: ingest::fingerprint(&to, asked.as_bytes()),
        }))
    }
}

/// Does what a request asks for, once: `prepare` finds out what that is, `act` does it and says what is
/// answered; returns the answer as JSON.
pub(crate) fn once<Deed: Serialize + DeserializeOwned, Said: Serialize>(
    parts: &Parts,
    key: Option<&Key>,
    prepare: impl FnOnce() -> Answer<Deed>,
    act: impl Fn(&Deed) -> Answer<Said>,
) -> Answer<Vec<u8>> {
    let Some(Key { key, fingerprint }) = key else {
        return encoded(&act(&prepare()?)?);
    };
    let now = parts.clock.now();
    let finish = |deed: &Deed, now: LogTime| {
        let answer = given_up_on_error(parts, key, now, act(deed).and_then(|it| encoded(&it)))?;
        parts.access.finish_request(key, &answer)?;
        Ok(answer)
    };
    let known = match parts.access.request(key)? {
        Some(known) => known,
        None => {
            let deed = prepare()?;
            let begun = parts.access.begin_request(&Reservation {
                key: key.clone(),
                fingerprint: fingerprint.clone(),
                ends: encoded(&deed)?,
                begun_at: now,
                held_at: now,
            })?;
            match begun {
                Begun::New => return finish(&deed, now),
                known => known,
            }
        }
    };
    match known {
        Begun::Answered {
            fingerprint: of,
            answer,
        } if of == *fingerprint => Ok(answer),
        Begun::Unanswered(known) if known.fingerprint == *fingerprint => {
            take_over(parts, &known, now)?;
            let deed = serde_json::from_slice(&known.ends).map_err(|error| unreadable(&error))?;
            finish(&deed, now)
        }
        _ => Err(other_request()),
    }
}
