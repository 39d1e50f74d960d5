"""Ops that reach out of the graph: what `scan` and `doctor` warn of.

The names are those of TensorFlow's op registry. Among them are ops that ordinary SavedModels need:
`is_ordinary` tells where they are used for that, and where they are a way to any file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from savedmodel.inspection import NodeInfo

_READS = "reads files"
_WRITES = "writes files"
_NETWORK = "talks to other processes"
_PYTHON = "calls a Python function of the process"
_PRINTS = "prints"
_ENDS = "ends the process"
_NATIVE = "calls native code by its name"
_SLEEPS = "keeps a thread waiting"
_GRAPH = "runs a graph that is in its input"

_OPS = {
    _READS: """
        ReadFile MatchingFiles MatchingFilesDataset ExperimentalMatchingFilesDataset
        Restore RestoreSlice RestoreV2 DTensorRestoreV2 LoadAndRemapMatrix ImmutableConst
        FixedLengthRecordDataset FixedLengthRecordDatasetV2 TextLineDataset
        TFRecordDataset TFRecordDatasetV2 LoadDataset RecordInput
        FixedLengthRecordReader FixedLengthRecordReaderV2 LMDBReader TextLineReader
        TextLineReaderV2 TFRecordReader TFRecordReaderV2 WholeFileReader WholeFileReaderV2
        ListSnapshotChunksDataset SnapshotChunkDataset SnapshotDatasetReader
        SnapshotNestedDatasetReader
        CSVDataset CSVDatasetV2 ExperimentalCSVDataset LMDBDataset ExperimentalLMDBDataset
        FixedUnigramCandidateSampler GenerateVocabRemapping DecodeProtoV2 EncodeProto
        InitializeTableFromTextFile InitializeTableFromTextFileV2
    """,
    _WRITES: """
        WriteFile Save SaveSlices SaveV2 MergeV2Checkpoints
        CacheDataset CacheDatasetV2 SaveDataset SaveDatasetV2 SnapshotDataset SnapshotDatasetV2
        DatasetToTFRecord ExperimentalDatasetToTFRecord DistributedSave
        CreateSummaryFileWriter CreateSummaryDbWriter DumpTensor
        DebugIdentity DebugIdentityV2 DebugIdentityV3 DebugNanCount DebugNumericSummary
        DebugNumericSummaryV2 CalibrationStatisticsSaver FileSystemSetConfiguration
        CustomAggregator ImportEvent WriteAudioSummary WriteGraphSummary WriteHistogramSummary
        WriteImageSummary WriteRawProtoSummary WriteScalarSummary WriteSummary
    """,
    _NETWORK: """
        RpcClient RpcCall RpcServer RpcServerRegister RpcServerStart RemoteCall
        Send Recv _Send _Recv _HostSend _HostRecv SqlDataset ExperimentalSqlDataset
        DataServiceDataset DataServiceDatasetV2 DataServiceDatasetV3 DataServiceDatasetV4
        RegisterDataset RegisterDatasetV2
        ConfigureDistributedTPU ConfigureAndInitializeGlobalTPU
        DeleteRpcFutureResource RpcCheckStatus RpcGetValue WorkerHeartbeat
        CollectiveAllToAllV2 CollectiveAllToAllV3 CollectiveAssignGroupV2
        CollectiveBcastRecv CollectiveBcastRecvV2 CollectiveBcastSend CollectiveBcastSendV2
        CollectiveGather CollectiveGatherV2 CollectiveInitializeCommunicator CollectivePermute
        CollectiveReduce CollectiveReduceScatterV2 CollectiveReduceV2 CollectiveReduceV3
    """,
    _PYTHON: "PyFunc PyFuncStateless EagerPyFunc",
    _PRINTS: "Print PrintV2",
    _ENDS: "Abort",
    _NATIVE: "XlaCustomCall XlaCustomCallV2",
    _SLEEPS: "SleepDataset ExperimentalSleepDataset SleepOp SleepIdentityOp",
    _GRAPH: "DatasetFromGraph",
}

# Op -> why it is dangerous.
DANGEROUS_OPS = {op: why for why, ops in _OPS.items() for op in ops.split()}

# Input -> the ops that it tells the name of a file, of a folder or of a server.
_NAME_INPUTS = {
    0: """
        ReadFile WriteFile MatchingFiles MatchingFilesDataset ExperimentalMatchingFilesDataset
        Restore RestoreSlice RestoreV2 DTensorRestoreV2 Save SaveSlices SaveV2 MergeV2Checkpoints
        LoadAndRemapMatrix GenerateVocabRemapping LoadDataset ListSnapshotChunksDataset
        SnapshotChunkDataset SnapshotDatasetReader FixedLengthRecordDataset
        FixedLengthRecordDatasetV2 TextLineDataset TFRecordDataset TFRecordDatasetV2
        CSVDataset CSVDatasetV2 ExperimentalCSVDataset LMDBDataset ExperimentalLMDBDataset
        RpcClient RpcServer RemoteCall
    """,
    1: """
        InitializeTableFromTextFile InitializeTableFromTextFileV2 MergeV2Checkpoints
        GenerateVocabRemapping CacheDataset CacheDatasetV2 SaveDataset SaveDatasetV2
        SnapshotDataset SnapshotDatasetV2 DatasetToTFRecord ExperimentalDatasetToTFRecord
        DistributedSave CreateSummaryFileWriter CreateSummaryDbWriter SqlDataset
        ExperimentalSqlDataset RegisterDataset RegisterDatasetV2
    """,
    2: """
        DataServiceDataset DataServiceDatasetV2 DataServiceDatasetV3 DataServiceDatasetV4
        DistributedSave
    """,
}
_NAMES_OF: dict[str, list[int]] = {}
for _input, _ops in _NAME_INPUTS.items():
    for _op in _ops.split():
        _NAMES_OF.setdefault(_op, []).append(_input)

# What ordinary SavedModels need: op -> the `use` of its nodes (None: any) and what their file names
# are (`NodeInfo.fed`).
_ORDINARY = {
    **dict.fromkeys(("Restore", "RestoreSlice", "RestoreV2"), ("restore", "variables")),
    **dict.fromkeys(("Save", "SaveSlices", "SaveV2", "MergeV2Checkpoints"), ("save", "variables")),
    **dict.fromkeys(
        ("InitializeTableFromTextFile", "InitializeTableFromTextFileV2"), (None, "asset")
    ),
}


def names(node: NodeInfo) -> list[str]:
    """Return the files and servers that a node reaches and that stand in the graph by name.

    None where the name comes from elsewhere, and of ops that are not in the table.
    """
    texts = (node.constants.get(number) for number in _NAMES_OF.get(node.op, ()))
    return [text for text in texts if text]


def is_ordinary(node: NodeInfo) -> bool:
    """Whether a node of one of DANGEROUS_OPS does what ordinary SavedModels need it for.

    That is: the saver's own restoring and saving of the variables files, tables that are filled
    from assets, and datasets that are cached in memory. A file name that the loader does not hand
    over, for one because it stands in the graph, is never ordinary.
    """
    if node.op in ("CacheDataset", "CacheDatasetV2"):
        return node.constants.get(1) == ""
    if node.op not in _ORDINARY:
        return False
    use, fed = _ORDINARY[node.op]
    return use in (None, node.use) and all(
        node.fed.get(number) == fed for number in _NAMES_OF[node.op]
    )
