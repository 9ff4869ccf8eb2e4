//! Batches of records straight from librdkafka's fetch buffers. Besides this file only `admin`
//! (token and log) and `brokers` call C in this adapter.
//!
//! The rdkafka crate has no call for batches, and its poll costs an event, a lock and an allocation
//! for each record. What must hold for the calls here: a queue and its topic handle live no longer
//! than their client (an `Arc` is kept), a message lives no longer than its queue, and each is
//! destroyed once.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::ffi::CString;
use std::ptr;
use std::sync::Arc;

use rdkafka::bindings as c;
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;
use theatre_actors::ports::{Error, Result};

use super::client::{PlainConsumer, WHAT, by_code, serve_events};

const BATCH: usize = 4096;

/// Called when something arrives in a queue that was empty.
type Wake = Arc<dyn Fn() + Send + Sync>;

/// What lies at the head of a queue.
pub(super) enum Head<'a> {
    /// A record: offset, append time in milliseconds, key, value.
    Record(u64, i64, &'a [u8], &'a [u8]),
    /// Everything up to this offset was read.
    End(u64),
    /// An error of the broker or of the client.
    Failed(RDKafkaErrorCode),
}

/// Records of one topic partition, fetched ahead by the client's own threads.
pub(super) struct FetchQueue {
    client: Arc<PlainConsumer>,
    topic: *mut c::rd_kafka_topic_t,
    name: CString,
    partition: i32,
    queue: *mut c::rd_kafka_queue_t,
    messages: VecDeque<*mut c::rd_kafka_message_t>,
    batch: Vec<*mut c::rd_kafka_message_t>,
    /// Boxed, because librdkafka keeps its address.
    wake: Option<Box<Wake>>,
}

// SAFETY: librdkafka's handles may be used from any thread, and all methods take `&mut self`.
unsafe impl Send for FetchQueue {}

impl FetchQueue {
    /// Begins to fetch at an offset. The partition must not be fetched by the same client already.
    pub(super) fn start(
        client: Arc<PlainConsumer>,
        topic: &str,
        partition: i32,
        from: i64,
    ) -> Result<Self> {
        let name = CString::new(topic)
            .map_err(|_| Error::Refused("a topic's name holds a zero byte".to_owned()))?;
        let handle = client.client().native_ptr();
        // SAFETY: `handle` lives as long as `client`; `name` is a C string; a null configuration
        // asks for the default.
        let (topic, queue) = unsafe {
            (
                c::rd_kafka_topic_new(handle, name.as_ptr(), ptr::null_mut()),
                c::rd_kafka_queue_new(handle),
            )
        };
        if topic.is_null() || queue.is_null() {
            return Err(Error::Unavailable {
                what: WHAT,
                why: "a topic handle cannot be made".to_owned(),
            });
        }
        let fetch = Self {
            client,
            topic,
            name,
            partition,
            queue,
            messages: VecDeque::new(),
            batch: vec![ptr::null_mut(); BATCH],
            wake: None,
        };
        // SAFETY: both handles were checked above.
        match unsafe { c::rd_kafka_consume_start_queue(fetch.topic, partition, from, fetch.queue) }
        {
            0 => Ok(fetch),
            // SAFETY: reads the error of the call just made by this thread.
            _ => Err(by_code(
                "beginning to fetch",
                unsafe { c::rd_kafka_last_error() }.into(),
            )),
        }
    }

    /// Makes librdkafka's threads call `wake` when something arrives in the empty queue.
    pub(super) fn set_wake(&mut self, wake: Wake) {
        self.clear_wake();
        let wake = self.wake.insert(Box::new(wake));
        let opaque = ptr::from_mut(wake.as_mut()).cast();
        // SAFETY: the box stays where it is until `clear_wake`, which ends the calls first.
        unsafe { c::rd_kafka_queue_cb_event_enable(self.queue, Some(on_queue_event), opaque) }
    }

    /// Ends the calls of `wake`.
    fn clear_wake(&mut self) {
        // SAFETY: a valid queue. librdkafka calls back and changes this under the queue's lock:
        // when it returns, no call is under way.
        unsafe { c::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut()) }
        self.wake = None;
    }

    /// The head of the queue, if anything has arrived. It stays there until [`FetchQueue::pop`].
    pub(super) fn head(&mut self) -> Option<Head<'_>> {
        if self.messages.is_empty() {
            // SAFETY: `batch` has room for BATCH pointers; the call fills as many as it returns.
            let got = unsafe {
                c::rd_kafka_consume_batch_queue(self.queue, 0, self.batch.as_mut_ptr(), BATCH)
            };
            self.messages
                .extend(&self.batch[..usize::try_from(got).unwrap_or(0)]);
        }
        let raw = *self.messages.front()?;
        // SAFETY: a message of the queue is valid until destroyed, which only `pop` and `drop` do,
        // and they need `&mut self`.
        let message = unsafe { &*raw };
        Some(match message.err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {
                // SAFETY: as above.
                let time = unsafe { c::rd_kafka_message_timestamp(raw, ptr::null_mut()) };
                // SAFETY: librdkafka gives pointer and length of one buffer, which lives as long as
                // the message.
                let (key, value) = unsafe {
                    (
                        slice(message.key, message.key_len),
                        slice(message.payload, message.len),
                    )
                };
                Head::Record(message.offset as u64, time, key, value)
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => Head::End(message.offset as u64),
            code => Head::Failed(code.into()),
        })
    }

    /// Serves the events of a client that no thread polls.
    pub(super) fn serve_client(&self) {
        serve_events(&self.client);
    }

    /// Removes the head.
    pub(super) fn pop(&mut self) {
        if let Some(message) = self.messages.pop_front() {
            // SAFETY: it was taken out of the list, so this happens once.
            unsafe { c::rd_kafka_message_destroy(message) }
        }
    }

    /// End of the log by the last answer of the broker; 0 before the first.
    pub(super) fn end_offset(&self) -> u64 {
        let (mut low, mut high) = (0, 0);
        // SAFETY: valid handles, and places for two numbers.
        unsafe {
            c::rd_kafka_get_watermark_offsets(
                self.client.client().native_ptr(),
                self.name.as_ptr(),
                self.partition,
                &mut low,
                &mut high,
            )
        };
        u64::try_from(high).unwrap_or(0)
    }
}

/// # Safety
/// `opaque` is what [`FetchQueue::set_wake`] gave.
unsafe extern "C" fn on_queue_event(_client: *mut c::rd_kafka_t, opaque: *mut std::ffi::c_void) {
    // SAFETY: as the caller promises; shared access only.
    let wake = unsafe { &*opaque.cast::<Wake>().cast_const() };
    wake();
}

/// # Safety
/// `data` is null, or points to `len` bytes that outlive `'a`.
unsafe fn slice<'a>(data: *mut std::ffi::c_void, len: usize) -> &'a [u8] {
    // SAFETY: as the caller promises.
    if data.is_null() {
        &[]
    } else {
        unsafe { std::slice::from_raw_parts(data.cast(), len) }
    }
}

impl Drop for FetchQueue {
    fn drop(&mut self) {
        while !self.messages.is_empty() {
            self.pop();
        }
        self.clear_wake();
        // SAFETY: made by `start`, destroyed here only, the client still lives.
        unsafe {
            c::rd_kafka_consume_stop(self.topic, self.partition);
            c::rd_kafka_queue_destroy(self.queue);
            c::rd_kafka_topic_destroy(self.topic);
        }
    }
}
