package dev.baton.bench;

/** What a bench has found. */
public interface Report {

  /** A table for people, with a line end after its last line. */
  String text();

  /** All figures, also those that the table leaves out, as one JSON value. */
  String json();
}
