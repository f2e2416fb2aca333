// MPIMessagePassing
