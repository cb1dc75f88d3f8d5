"""Fine-tuning of token classifiers with the quantization that octobert's engine computes with."""
