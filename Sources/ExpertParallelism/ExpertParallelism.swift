// ExpertParallelism
