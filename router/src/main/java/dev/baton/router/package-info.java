/** The router: text in, tokens out to the workers, tokens in, text out. */
@org.jspecify.annotations.NullMarked
package dev.baton.router;
