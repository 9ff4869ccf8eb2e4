//! Times and dates as the server takes them, exact to the microsecond.

use sqlx::Postgres;
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo};
use sqlx::types::Type;

/// From 1970-01-01 to 2000-01-01, where the server begins to count.
const DAYS: i32 = 10_957;
const MICROSECONDS: i64 = DAYS as i64 * 86_400_000_000;

/// A `timestamptz`: microseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment(pub(super) i64);

/// A `date`: days since 1970-01-01.
#[derive(Debug, Clone, Copy)]
pub(super) struct Day(pub(super) i32);

pub(super) fn moments(times: &[Option<i64>]) -> Vec<Option<Moment>> {
    times.iter().map(|time| time.map(Moment)).collect()
}

pub(super) fn days(dates: &[Option<i32>]) -> Vec<Option<Day>> {
    dates.iter().map(|date| date.map(Day)).collect()
}

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl PgHasArrayType for Moment {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1185))
    }
}

impl Encode<'_, Postgres> for Moment {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let since_2000 = self.0.saturating_sub(MICROSECONDS);
        Encode::<Postgres>::encode(since_2000, buffer)
    }
}

impl Type<Postgres> for Day {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1082))
    }
}

impl PgHasArrayType for Day {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1182))
    }
}

impl Encode<'_, Postgres> for Day {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode(self.0.saturating_sub(DAYS), buffer)
    }
}
