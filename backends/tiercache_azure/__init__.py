"""The Azure Blob tier of tiercache."""
