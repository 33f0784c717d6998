"""The paper's tables on one's own stream: arms, tuned controls, placebos, intervals."""
