//! The fetch sessions of a broker, as Kafka keeps them: what a request asks for in all, and what of
//! a whole answer is said.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchRequest, FetchResponse, TopicName};

pub(super) const NOT_FOUND: i16 = 70;
pub(super) const WRONG_EPOCH: i16 = 71;

#[derive(Debug, Clone)]
struct Cached {
    topic: TopicName,
    wanted: FetchPartition,
    high_watermark: i64,
    log_start: i64,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    partitions: Vec<Cached>,
}

/// The sessions of one broker.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: BTreeMap<i32, Session>,
    last: i32,
    /// It has no room for any.
    pub(super) is_full: bool,
    /// Every partition goes to the end, as if it was named because it has grown, with an older
    /// broker; and not only those that got records.
    pub(super) moves_all: bool,
}

impl Sessions {
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }

    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// What a request asks for in all, in the order in which it is served, or an error.
    pub(super) fn enter(&mut self, request: &FetchRequest) -> Result<FetchRequest, i16> {
        if request.session_epoch <= 0 {
            assert!(
                request.forgotten_topics_data.is_empty(),
                "nothing to forget"
            );
            self.open.remove(&request.session_id);
            return Ok(request.clone());
        }
        let session = self.open.get_mut(&request.session_id).ok_or(NOT_FOUND)?;
        if session.epoch != request.session_epoch {
            return Err(WRONG_EPOCH);
        }
        session.epoch += 1;
        for topic in &request.topics {
            for wanted in &topic.partitions {
                match session.find(&topic.topic, wanted.partition) {
                    Some(at) => session.partitions[at].wanted = wanted.clone(),
                    None => session.partitions.push(Cached {
                        topic: topic.topic.clone(),
                        wanted: wanted.clone(),
                        high_watermark: -1,
                        log_start: -1,
                    }),
                }
            }
        }
        for topic in &request.forgotten_topics_data {
            for index in &topic.partitions {
                let at = session.find(&topic.topic, *index);
                session.partitions.remove(at.expect("it is there"));
            }
        }
        let mut topics: Vec<FetchTopic> = Vec::new();
        for cached in &session.partitions {
            if topics
                .last()
                .is_none_or(|topic| topic.topic != cached.topic)
            {
                topics.push(FetchTopic::default().with_topic(cached.topic.clone()));
            }
            let topic = topics.last_mut().unwrap();
            topic.partitions.push(cached.wanted.clone());
        }
        Ok(request.clone().with_topics(topics))
    }

    /// What is said of the whole answer to a request, of which `enter` has given this.
    pub(super) fn leave(
        &mut self,
        whole: &FetchRequest,
        mut answer: FetchResponse,
    ) -> FetchResponse {
        if whole.session_epoch <= 0 {
            let has_none = self.is_full || whole.session_epoch < 0;
            let id = if has_none {
                0
            } else {
                self.begin(whole, &answer)
            };
            return answer.with_session_id(id);
        }
        let Some(session) = self.open.get_mut(&whole.session_id) else {
            // It was evicted meanwhile: the request that is under way is answered all the same.
            return answer.with_session_id(whole.session_id);
        };
        let mut topics: Vec<FetchableTopicResponse> = Vec::new();
        for mut topic in std::mem::take(&mut answer.responses) {
            topic
                .partitions
                .retain(|data| session.names(&topic.topic, data, self.moves_all));
            if !topic.partitions.is_empty() {
                topics.push(topic);
            }
        }
        answer
            .with_responses(topics)
            .with_session_id(whole.session_id)
    }

    fn begin(&mut self, whole: &FetchRequest, answer: &FetchResponse) -> i32 {
        let mut partitions = Vec::new();
        for (topic, said) in whole.topics.iter().zip(&answer.responses) {
            for (wanted, data) in topic.partitions.iter().zip(&said.partitions) {
                let is_told = data.error_code == 0;
                partitions.push(Cached {
                    topic: topic.topic.clone(),
                    wanted: wanted.clone(),
                    high_watermark: if is_told { data.high_watermark } else { -1 },
                    log_start: if is_told { data.log_start_offset } else { -1 },
                });
            }
        }
        self.last += 1;
        let session = Session {
            epoch: 1,
            partitions,
        };
        self.open.insert(self.last, session);
        self.last
    }
}

impl Session {
    fn find(&self, topic: &TopicName, index: i32) -> Option<usize> {
        self.partitions
            .iter()
            .position(|cached| cached.topic == *topic && cached.wanted.partition == index)
    }

    fn names(&mut self, topic: &TopicName, data: &PartitionData, moves_all: bool) -> bool {
        let at = self.find(topic, data.partition_index).unwrap();
        let cached = &mut self.partitions[at];
        let has_records = data
            .records
            .as_ref()
            .is_some_and(|bytes| !Bytes::is_empty(bytes));
        let is_named = has_records
            || data.error_code != 0
            || data.diverging_epoch.end_offset >= 0
            || cached.high_watermark != data.high_watermark
            || cached.log_start != data.log_start_offset;
        cached.high_watermark = if data.error_code == 0 {
            data.high_watermark
        } else {
            -1
        };
        cached.log_start = data.log_start_offset;
        if has_records || moves_all {
            let cached = self.partitions.remove(at);
            self.partitions.push(cached);
        }
        is_named
    }
}
