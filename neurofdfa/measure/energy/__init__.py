"""Operations, words and joules per sample, of inference and of learning."""
