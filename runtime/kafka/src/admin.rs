//! The client for changes of topics and for their settings. It is created for one request and
//! dropped after it.
//!
//! The rdkafka crate polls only the answers of this client, never its other events. It therefore
//! gets its token for MSK when it is created, and its log is read when a request has failed. What
//! must hold: the client is used for less time than a token lives.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::ptr;

use rdkafka::admin::AdminClient;
use rdkafka::bindings as c;
use rdkafka::client::{DefaultClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use theatre_actors::ports::{Error, Result};

use super::client::{Base, WHAT, failed};

pub(super) type Admin = AdminClient<DefaultClientContext>;

/// Opens an admin client.
pub(super) fn open(base: &Base) -> Result<Admin> {
    let admin: Admin = base
        .settings
        .create()
        .map_err(|error| failed("opening an admin client", &error))?;
    let token = base.identity.token().map_err(|error| Error::Unavailable {
        what: WHAT,
        why: format!("no token for MSK: {error}"),
    })?;
    if let Some(token) = token {
        set_token(&admin, token)?;
    }
    Ok(admin)
}

/// Like [`Base::failed`], after reading the log of this client into the diagnostics.
pub(super) fn failed_with_log(base: &Base, admin: &Admin, call: &str, error: &KafkaError) -> Error {
    // SAFETY: the client lives until the end of this function, and the queue and each event are
    // destroyed once. Texts are read before their event is destroyed, and only when librdkafka says
    // that it has set them; it ends them with a zero.
    unsafe {
        let queue = c::rd_kafka_queue_get_main(admin.inner().native_ptr());
        loop {
            let event = c::rd_kafka_queue_poll(queue, 0);
            if event.is_null() {
                break;
            }
            let (mut facility, mut text, mut level) = (ptr::null(), ptr::null(), 0);
            if c::rd_kafka_event_log(event, &mut facility, &mut text, &mut level) == 0 {
                let (facility, text) = (
                    CStr::from_ptr(facility).to_string_lossy(),
                    CStr::from_ptr(text).to_string_lossy(),
                );
                base.diagnostics
                    .record_log_line(RDKafkaLogLevel::Debug, &facility, &text);
            }
            c::rd_kafka_event_destroy(event);
        }
        c::rd_kafka_queue_destroy(queue);
    }
    base.failed(call, error)
}

fn set_token(admin: &Admin, token: OAuthToken) -> Result<()> {
    let text = |text| {
        CString::new(text)
            .map_err(|_| Error::Refused("a token for MSK holds a zero byte".to_owned()))
    };
    let (value, principal) = (text(token.token)?, text(token.principal_name)?);
    let mut why = [0; 512];
    // SAFETY: the client lives, both texts end with a zero, there are no extensions, and `why` has
    // room for as many bytes as its length says.
    let answer = unsafe {
        let client = admin.inner().native_ptr();
        c::rd_kafka_oauthbearer_set_token(
            client,
            value.as_ptr(),
            token.lifetime_ms,
            principal.as_ptr(),
            ptr::null_mut(),
            0,
            why.as_mut_ptr(),
            why.len(),
        )
    };
    if answer == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    // SAFETY: librdkafka ends what it writes with a zero, and the array began as zeros.
    let why = unsafe { CStr::from_ptr(why.as_ptr()) }.to_string_lossy();
    Err(Error::Unavailable {
        what: WHAT,
        why: format!("the token for MSK was not taken: {why}"),
    })
}
