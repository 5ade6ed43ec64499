"""The Google Cloud Storage tier of tiercache."""
