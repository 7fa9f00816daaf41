// nextflow run main.nf --slides '/data/slides/*.svs' --results /data/results
// Results are written where they stay, not in the task's folder, which is another one at each try: so a task that is
// tried again goes on where the last one was stopped, and one that was finished is skipped.
nextflow.enable.dsl = 2

params.slides = 'slides/*.svs'
params.results = 'results'

process UPSCALE {
    tag "${slide.name}"
    cpus 8
    memory '16 GB'
    time '8h'
    errorStrategy { task.exitStatus in [130, 137, 143] ? 'retry' : 'finish' }
    maxRetries 3

    input:
    path slide

    output:
    path "${slide.baseName}.x2.ome.tif"

    script:
    """
    wsisr upscale "\$(readlink -f ${slide})" --scale 2 -o "${file(params.results).toAbsolutePath()}/"
    ln -s "${file(params.results).toAbsolutePath()}/${slide.baseName}.x2.ome.tif" .
    """
}

workflow {
    UPSCALE(Channel.fromPath(params.slides, checkIfExists: true))
}
