/**
 * Hugging Face model directories, read without trust: config.json becomes a {@link
 * dev.baton.engine.checkpoint.ModelConfig}, safetensors files become mapped tensors. Whatever is
 * wrong with a directory ends as one {@link dev.baton.engine.EngineException} of kind BAD_MODEL
 * that names the file and the field or tensor.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.engine.checkpoint;
