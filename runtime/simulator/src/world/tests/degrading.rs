//! Parts wear, show it, fail, and are replaced.
