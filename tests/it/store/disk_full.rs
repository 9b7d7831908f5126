//! A full disk is a clear error and leaves no half object.
