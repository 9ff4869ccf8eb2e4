//! A value that nearly every robot has as it is at its beginning: it takes a pointer until it is
//! something else. With 100,000 robots in a process that is what it costs. Stored as the value.

use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What has a beginning that all who are at it can look at.
pub(crate) trait Beginning: Default + PartialEq + 'static {
    /// The value at its beginning: [`Default::default`].
    fn beginning() -> &'static Self;
}

/// A value that is kept only once it is not at its beginning.
#[derive(Debug, Clone)]
pub(crate) struct Rare<T>(Option<Box<T>>);

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Beginning> Rare<T> {
    /// The value.
    pub(crate) fn into_value(self) -> T {
        self.0.map_or_else(T::default, |value| *value)
    }

    /// Changes the value; where that leaves it at its beginning, nothing is kept.
    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let value = self.0.get_or_insert_default();
        let changed = change(value);
        if **value == *T::beginning() {
            self.0 = None;
        }
        changed
    }
}

impl<T: Beginning> From<T> for Rare<T> {
    fn from(value: T) -> Self {
        let is_kept = value != *T::beginning();
        Self(is_kept.then(|| Box::new(value)))
    }
}

impl<T: Beginning> Deref for Rare<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match &self.0 {
            Some(value) => value,
            None => T::beginning(),
        }
    }
}

impl<T: Beginning> PartialEq for Rare<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Beginning + Serialize> Serialize for Rare<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: Beginning + Deserialize<'de>> Deserialize<'de> for Rare<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::{Beginning, Rare};

    impl Beginning for String {
        fn beginning() -> &'static Self {
            static BEGINNING: String = String::new();
            &BEGINNING
        }
    }

    #[test]
    fn it_is_kept_while_it_is_something_and_stored_as_what_it_is() {
        let mut rare = Rare::<String>::default();
        let stored = |rare: &Rare<String>| postcard::to_allocvec(rare).unwrap();
        for text in ["", "a", "ab", ""] {
            let before = (*rare).clone();
            let replaced = rare.change(|it| std::mem::replace(it, text.to_owned()));
            assert_eq!(replaced, before);
            assert_eq!(rare.0.is_some(), !text.is_empty());
            assert_eq!(*rare, text);
            let bytes = postcard::to_allocvec(text).unwrap();
            assert_eq!(stored(&rare), bytes);
            let read: Rare<String> = postcard::from_bytes(&bytes).unwrap();
            assert_eq!(read.0.is_some(), !text.is_empty());
            assert_eq!(read, rare);
        }
    }
}
