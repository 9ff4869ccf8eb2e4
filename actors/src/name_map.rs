//! A map by name for the few entries that a robot has: datasets, conditions, procedures. It takes the
//! memory of its entries, where a tree takes that of eleven for the first; with 100,000 robots in a
//! process that is what they cost. Stored as a map.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Up to so many entries, the memory is just that of the entries.
const EXACT_MAX: usize = 4;

/// Entries in the order of their names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NameMap<V>(Vec<(Box<str>, V)>);

impl<V> Default for NameMap<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> NameMap<V> {
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Where a name is. Of few names those of another length are passed over at once.
    #[inline]
    fn place(&self, name: &str) -> Option<usize> {
        if self.0.len() > EXACT_MAX {
            return self.find(name).ok();
        }
        self.0.iter().position(|(known, _)| **known == *name)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    #[inline]
    pub(crate) fn get(&self, name: &str) -> Option<&V> {
        self.place(name).map(|at| &self.0[at].1)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        self.place(name).map(|at| &mut self.0[at].1)
    }

    /// The entry of a name, which is made if it is not there.
    pub(crate) fn get_or_insert_with(&mut self, name: &str, make: impl FnOnce() -> V) -> &mut V {
        let place = self.place(name).map_or_else(|| self.find(name), Ok);
        let at = place.unwrap_or_else(|at| {
            // One more, and not twice as many: most maps never grow again.
            if self.0.len() < EXACT_MAX {
                self.0.reserve_exact(1);
            }
            self.0.insert(at, (name.into(), make()));
            at
        });
        &mut self.0[at].1
    }

    /// Sets the value of a name.
    pub(crate) fn insert(&mut self, name: &str, value: V) {
        let mut value = Some(value);
        let entry = self.get_or_insert_with(name, || {
            value.take().unwrap_or_else(|| unreachable!("made once"))
        });
        if let Some(value) = value {
            *entry = value;
        }
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<V> {
        self.place(name).map(|at| self.0.remove(at).1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut V)> {
        self.0.iter_mut().map(|(name, value)| (&**name, value))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&str, &mut V) -> bool) {
        self.0.retain_mut(|(name, value)| keep(name, value));
    }

    /// The same names with other values.
    pub(crate) fn map<W>(self, change: impl Fn(V) -> W) -> NameMap<W> {
        let entries = self.0.into_iter();
        NameMap(entries.map(|(name, value)| (name, change(value))).collect())
    }
}

impl<V: Default> NameMap<V> {
    /// The entry of a name, which is made if it is not there.
    pub(crate) fn get_or_default(&mut self, name: &str) -> &mut V {
        self.get_or_insert_with(name, V::default)
    }
}

impl<V: Serialize> Serialize for NameMap<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for NameMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(NameMap<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = NameMap<V>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map by name")
            }

            fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
                // Whatever order it is stored in.
                while let Some((name, value)) = map.next_entry::<Box<str>, V>()? {
                    self.0.insert(&name, value);
                }
                Ok(self.0)
            }
        }

        deserializer.deserialize_map(Entries(Self::default()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::NameMap;

    proptest! {
        #[test]
        fn it_does_and_is_stored_as_a_tree_does(
            steps in prop::collection::vec((0_u8..4, "[a-d]{0,2}", any::<u16>()), 0..60)
        ) {
            let (mut map, mut tree) = (NameMap::default(), BTreeMap::new());
            for (step, name, value) in steps {
                match step {
                    0 => {
                        map.insert(&name, value);
                        tree.insert(name, value);
                    }
                    1 => {
                        *map.get_or_default(&name) ^= value;
                        *tree.entry(name).or_default() ^= value;
                    }
                    2 => prop_assert_eq!(map.remove(&name), tree.remove(&name)),
                    _ => {
                        map.retain(|_, known| *known != value && *known % 7 != 0);
                        tree.retain(|_, known| *known != value && *known % 7 != 0);
                    }
                }
                prop_assert!(map.iter().eq(tree.iter().map(|(name, value)| (&**name, value))));
                prop_assert_eq!(map.len(), tree.len());
            }
            let bytes = postcard::to_allocvec(&tree).unwrap();
            prop_assert_eq!(&postcard::to_allocvec(&map).unwrap(), &bytes);
            prop_assert_eq!(postcard::from_bytes::<NameMap<u16>>(&bytes).unwrap(), map);
        }
    }
}
