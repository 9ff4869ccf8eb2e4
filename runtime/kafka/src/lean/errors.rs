//! Error codes of Kafka's protocol, by what a fetcher does about them.

use kafka_protocol::error::ResponseError;

/// The broker does not know the request's version.
pub(super) const UNSUPPORTED_VERSION: i16 = 35;

/// What an error of one partition asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The broker is not the leader, or one of the two does not know it yet: ask for the leader.
    FindLeader,
    /// It passes by itself: ask again a little later.
    Retry,
    /// The offset is not there.
    Position,
    /// The reader has to fail; a retry may succeed.
    Report,
    /// The reader has to fail; a retry cannot succeed.
    Refuse,
}

/// What is to be done about the error of a partition.
pub(super) fn remedy(code: i16) -> Remedy {
    use ResponseError as Error;
    let Some(error) = ResponseError::try_from_code(code) else {
        return Remedy::Retry;
    };
    match error {
        Error::NotLeaderOrFollower
        | Error::UnknownTopicOrPartition
        | Error::UnknownTopicId
        | Error::InconsistentTopicId
        | Error::FencedLeaderEpoch
        | Error::UnknownLeaderEpoch
        | Error::LeaderNotAvailable
        | Error::ReplicaNotAvailable
        | Error::KafkaStorageError
        | Error::BrokerNotAvailable => Remedy::FindLeader,
        Error::OffsetNotAvailable
        | Error::RequestTimedOut
        | Error::ThrottlingQuotaExceeded
        | Error::UnknownServerError => Remedy::Retry,
        Error::OffsetOutOfRange => Remedy::Position,
        Error::TopicAuthorizationFailed
        | Error::GroupAuthorizationFailed
        | Error::ClusterAuthorizationFailed
        | Error::InvalidTopicException
        | Error::UnsupportedVersion
        | Error::UnsupportedCompressionType => Remedy::Refuse,
        _ => Remedy::Report,
    }
}

/// True if the broker refuses it to this client.
pub(super) fn is_authorization(code: i16) -> bool {
    use ResponseError as Error;
    matches!(
        ResponseError::try_from_code(code),
        Some(
            Error::TopicAuthorizationFailed
                | Error::GroupAuthorizationFailed
                | Error::ClusterAuthorizationFailed
        )
    )
}

/// True if no broker coordinates groups: a new cluster has the topic for it only once it was asked.
pub(super) fn is_without_coordinator(code: i16) -> bool {
    ResponseError::try_from_code(code) == Some(ResponseError::CoordinatorNotAvailable)
}

/// True if the broker does not have the session of a Fetch request, or has another state of it.
pub(super) fn is_of_session(code: i16) -> bool {
    use ResponseError as Error;
    matches!(
        ResponseError::try_from_code(code),
        Some(Error::FetchSessionIdNotFound | Error::InvalidFetchSessionEpoch)
    )
}

/// The name of an error.
pub(super) fn name(code: i16) -> String {
    ResponseError::try_from_code(code).map_or_else(
        || "no error".to_owned(),
        |error| format!("{error:?} ({code})"),
    )
}
