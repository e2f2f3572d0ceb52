/**
 * How the processes of one cluster know each other: {@link dev.baton.peer.ClusterSecret}, which all
 * of them have; {@link dev.baton.peer.PeerAuthentication}, which proves it on every call between
 * router and workers; and {@link dev.baton.peer.ContextHash}, by which they make sure that they
 * speak of the same tokens. The hand-off has one-time tokens of its own, which travel on such
 * calls.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.peer;
