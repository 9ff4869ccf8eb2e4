//! A local stand-in for Amazon Redshift.
